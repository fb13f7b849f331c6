//! The generated parts of the documentation. `scripts/docs` lets this test write them; otherwise it compares them.

use std::{env, fs, path::Path};

use gatelet::{error::Code, verdicts::Rule};

use super::read;
use crate::harness::{Client, Program, run};

/// The variable by which `scripts/docs` asks for writing.
const WRITE: &str = "GATELET_WRITE_DOCS";

#[tokio::test]
async fn generated_parts_are_up_to_date() {
    let parts = [
        ("docs/permissions.md", "operations", run(&["operations", "--markdown"]).await.ok()),
        ("docs/permissions.md", "app-server", run(&["operations", "--app-server", "--markdown"]).await.ok()),
        ("docs/errors.md", "codes", codes()),
        ("docs/configuration.md", "settings", settings().await),
        ("docs/commands.md", "commands", commands().await),
        ("docs/operating.md", "metrics", metrics().await),
        ("docs/verdicts.md", "rules", rules()),
    ];
    let mut pages: Vec<(&str, String)> = Vec::new();
    for (page, mark, part) in parts {
        // A page may have several parts.
        let index = pages.iter().position(|(present, _)| *present == page);
        let text = index.map_or_else(|| read(page), |index| pages.remove(index).1);
        pages.push((page, with_part(page, &text, mark, &part)));
    }
    let fidelity = run(&["operations", "--fidelity", "--markdown"]).await.ok();
    pages.push(("docs/fidelity.md", format!("{}\n", fidelity.trim_end())));
    if env::var_os(WRITE).is_some() {
        for (page, text) in pages {
            fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(page), text).unwrap();
        }
        return;
    }
    let stale: Vec<String> = pages.iter().filter_map(|(page, text)| difference(page, &read(page), text)).collect();
    assert!(stale.is_empty(), "run scripts/docs, which writes what is generated:\n{}", stale.join("\n"));
}

/// A page with what stands between its marks replaced.
fn with_part(page: &str, text: &str, mark: &str, part: &str) -> String {
    let (start, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{page} lacks {start}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{page} lacks {end}"));
    format!("{before}{start}{}\n{end}{after}", part.trim())
}

/// The first line in which a page differs from what it should be.
fn difference(page: &str, written: &str, wanted: &str) -> Option<String> {
    if written == wanted {
        return None;
    }
    let (mut written, mut wanted) = (written.lines(), wanted.lines());
    for number in 1.. {
        let (is, should_be) = (written.next(), wanted.next());
        if is != should_be {
            let [is, should_be] = [is, should_be].map(|line| line.unwrap_or("(the end)"));
            return Some(format!("{page}, line {number}\n    is         {is}\n    should be  {should_be}"));
        }
        if is.is_none() {
            break;
        }
    }
    Some(format!("{page}: the ends of lines"))
}

fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines = vec![format!("| {} |", heads.join(" | ")), format!("| {} |", vec!["---"; heads.len()].join(" | "))];
    lines.extend(rows.into_iter().map(|cells| format!("| {} |", cells.join(" | "))));
    lines.join("\n")
}

/// A text as code in a table's cell; nothing where there is none.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn codes() -> String {
    let row = |code: &Code| {
        vec![format!("`{}`", code.word()), code.status().as_u16().to_string(), code.meaning().trim().to_owned()]
    };
    table(&["code", "status", "meaning"], Code::ALL.iter().map(row))
}

fn rules() -> String {
    let rule = |rule: &Rule| {
        let row = rule.row();
        let severity = row.severity.word();
        format!("### {}\n\n**{severity}**: {}\n\nWhy: {}\n\nWhat to do: {}", row.name, row.seen, row.why, row.fix)
    };
    Rule::ALL.iter().map(rule).collect::<Vec<_>>().join("\n\n")
}

async fn metrics() -> String {
    // Its sockets have metrics of their own.
    let program = Program::ephemeral().argument("--app-server").argument("ws://127.0.0.1:9/ws");
    let server = program.argument("--metrics-listen").argument("127.0.0.1:0").start_alone().await;
    let base = server.banner["metrics"].as_str().unwrap().strip_suffix("/metrics").unwrap();
    let text = Client::new(base, false).get("/metrics").await.text;
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let rows = helps.map(|(name, help)| {
        let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).unwrap();
        let suffix = if kind == "counter" { "_total" } else { "" };
        vec![format!("`{name}{suffix}`"), kind.to_owned(), help.trim_end_matches('.').to_owned()]
    });
    table(&["metric", "type", "meaning"], rows)
}

/// A setting, as the example file shows it.
struct Setting {
    name: String,
    default: String,
    meaning: String,
    is_in_the_file_alone: bool,
}

impl Setting {
    fn variable(&self) -> String {
        if self.is_in_the_file_alone {
            return String::new();
        }
        format!("GATELET_{}", self.name.to_uppercase().replace('.', "__"))
    }
}

async fn settings() -> String {
    let settings = settings_of(&run(&["config", "example"]).await.ok());
    let serve = Help::of(&["serve"]).await;
    let mut flags: Vec<(&str, &str)> = serve.options.iter().filter_map(Entry::variable).collect();
    flags.retain(|(_, variable)| *variable != "GATELET_CONFIG");
    let rows: Vec<Vec<String>> = settings
        .iter()
        .map(|setting| {
            let full = setting.variable();
            // A setting of a section may have a shorter variable than its name.
            let short = format!("GATELET_{}", setting.name.rsplit('.').next().unwrap().to_uppercase());
            let is_free = !settings.iter().any(|other| other.variable() == short);
            // The switch of a section may have the variable of the section.
            let section = full.strip_suffix("__ENABLED").unwrap_or(&full);
            let place = flags.iter().position(|(_, variable)| {
                !full.is_empty() && (*variable == full || *variable == section || is_free && *variable == short)
            });
            let (flag, variable) = place.map_or(("", full.as_str()), |place| flags.swap_remove(place));
            vec![code(&setting.name), code(variable), code(flag), setting.default.clone(), setting.meaning.clone()]
        })
        .collect();
    assert!(flags.is_empty(), "config/gatelet.example.toml lacks the settings of {flags:?}");
    table(&["setting", "environment", "flag", "default", "meaning"], rows)
}

/// Reads `config/gatelet.example.toml`: each setting stands below a comment of its own, which is its meaning. One without a
/// value is commented out, and its comment may end in `Default: ...`. So is an example of a table that may be repeated.
fn settings_of(example: &str) -> Vec<Setting> {
    let (mut section, mut comment) = (String::new(), String::new());
    let mut settings: Vec<Setting> = Vec::new();
    for line in example.lines() {
        let is_comment = line.starts_with('#');
        let text = line.trim_start_matches('#').trim();
        let setting =
            text.split_once(" = ").filter(|(key, _)| key.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()));
        if text.is_empty() {
            comment.clear();
        } else if let Some(table) = text.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            if let Some(list) = settings.iter_mut().find(|setting| setting.name == table) {
                list.is_in_the_file_alone = true;
            } else {
                let (default, meaning) = ("none".into(), comment.clone());
                settings.push(Setting { name: table.into(), default, meaning, is_in_the_file_alone: true });
            }
            section = format!("{table}[].");
            comment.clear();
        } else if let Some(name) =
            text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|_| !is_comment)
        {
            section = format!("{name}.");
            comment.clear();
        } else if let Some((key, value)) = setting {
            let name = format!("{section}{key}");
            assert!(!comment.is_empty(), "{name} needs a comment of its own in config/gatelet.example.toml");
            let is_in_the_file_alone = section.ends_with("[].");
            let (meaning, default) = match comment.split_once(" Default: ") {
                Some((meaning, default)) => (meaning.to_owned(), default.trim_end_matches('.').to_owned()),
                None if is_in_the_file_alone => (comment.clone(), String::new()),
                None if is_comment => (comment.clone(), "none".into()),
                None => (comment.clone(), code(value.trim_matches('"'))),
            };
            settings.push(Setting { name, default, meaning, is_in_the_file_alone });
            comment.clear();
        } else {
            assert!(is_comment, "what is this line of config/gatelet.example.toml: {line}");
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(text);
        }
    }
    settings
}

/// What `-h` prints about a command.
struct Help {
    about: String,
    usage: String,
    commands: Vec<Entry>,
    arguments: Vec<Entry>,
    options: Vec<Entry>,
}

/// A line of a list in a help text, such as `--listen <ADDRESS>  The address to listen on [env: GATELET_LISTEN]`.
struct Entry {
    name: String,
    meaning: String,
}

impl Entry {
    /// The flag without its value.
    fn flag(&self) -> &str {
        self.name.split(' ').next().unwrap()
    }

    /// The flag, and the environment variable that says the same.
    fn variable(&self) -> Option<(&str, &str)> {
        let variable = self.meaning.split_once("[env: ")?.1.split_once(']')?.0;
        Some((self.flag(), variable))
    }
}

impl Help {
    async fn of(command: &[&str]) -> Self {
        let text = run(&[command, &["-h"]].concat()).await.ok();
        let list = |head: &str| -> Vec<Entry> {
            let lines = text.lines().skip_while(|line| *line != head).skip(1).take_while(|line| !line.is_empty());
            lines
                .map(|line| {
                    let (name, meaning) = line.trim().split_once("  ").unwrap_or_else(|| panic!("no meaning: {line}"));
                    Entry { name: name.trim().into(), meaning: meaning.trim().replace('|', "\\|") }
                })
                .collect()
        };
        let usage = text.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
        // The program's name is whatever its file is called.
        let usage = usage.split_once(' ').map_or("", |(_, rest)| rest);
        Self {
            about: text.lines().next().unwrap().to_owned(),
            usage: format!("gatelet {usage}"),
            commands: list("Commands:"),
            arguments: list("Arguments:"),
            options: list("Options:"),
        }
    }
}

async fn commands() -> String {
    let top = Help::of(&[]).await;
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let (mut overview, mut details) = (Vec::new(), Vec::new());
    while let Some(path) = waiting.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = Help::of(&words).await;
        if !help.commands.is_empty() {
            let inner = help.commands.iter().rev().filter(|command| command.name != "help");
            waiting.extend(inner.map(|command| path.iter().chain([&command.name]).cloned().collect()));
            continue;
        }
        let own: Vec<&Entry> = help
            .options
            .iter()
            .filter(|option| !top.options.iter().any(|common| common.flag() == option.flag()))
            .collect();
        let optional = own.iter().filter(|option| !help.usage.contains(&option.name));
        let optional: Vec<String> = optional.map(|option| format!(" [{}]", option.name)).collect();
        let usage = if optional.len() > 4 {
            help.usage.clone()
        } else {
            help.usage.replace(" [OPTIONS]", "") + &optional.concat()
        };
        overview.push(vec![code(&usage), help.about]);
        let command = format!("gatelet {}", path.join(" "));
        let entries = own.into_iter().chain(&help.arguments);
        details.extend(entries.map(|entry| vec![code(&command), code(&entry.name), entry.meaning.clone()]));
    }
    let common = top.options.iter().filter(|option| option.name.starts_with("--"));
    let common = common.map(|option| vec![code(&option.name), option.meaning.clone()]);
    [
        table(&["command", "what it does"], overview),
        "Every command takes these options:".into(),
        table(&["option", "meaning"], common),
        "Some have options and arguments of their own:".into(),
        table(&["command", "option or argument", "meaning"], details),
    ]
    .join("\n\n")
}
