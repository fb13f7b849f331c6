//! Merges settings from several sources, and says where a wrong one came from.

use std::path::{Path, PathBuf};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Serialized, Toml},
    value::{Dict, Map, Value},
};

use super::Settings;

/// The prefix of Gatelet's environment variables.
const PREFIX: &str = "GATELET_";

/// Variables with the prefix that are not settings. `gatelet run` sets a URL and a key for the command that it runs, and the
/// packages for tests read the others.
const OTHER_VARIABLES: &[&str] = &["GATELET_CONFIG", "GATELET_URL", "GATELET_KEY", "GATELET_BINARY", "GATELET_KEEP"];

/// Short variables, and the setting's variable that each stands for.
const SHORT_VARIABLES: &[(&str, &str)] = &[
    ("GATELET_SCRIPT", "GATELET_MOCK__SCRIPT"),
    ("GATELET_SEED", "GATELET_MOCK__SEED"),
    ("GATELET_CONTROL", "GATELET_CONTROL__ENABLED"),
];

/// Where settings come from, weakest first. They are arguments, so that tests do not touch the process's environment.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// All environment variables; those that begin with `GATELET_` are used.
    pub environment: Vec<(String, String)>,
    /// Flags, by the name of the setting.
    pub flags: Vec<(&'static str, Value)>,
}

/// A setting that cannot be used, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Settings, and warnings about unknown variables with the prefix.
///
/// # Errors
/// When a setting is unknown, malformed or contradicts another. The error names the setting and its source.
pub fn load(layers: &Layers) -> Result<(Settings, Vec<String>), ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    let file = layers.file.clone().or_else(|| variable(layers, "GATELET_CONFIG").map(PathBuf::from));
    if let Some(path) = &file {
        check_readable(path)?;
        figment = figment.merge(Toml::file_exact(path));
    }
    let (known, unknown): (Vec<_>, Vec<_>) = layers
        .environment
        .iter()
        .filter(|(name, value)| {
            name.starts_with(PREFIX) && !value.is_empty() && !OTHER_VARIABLES.contains(&name.as_str())
        })
        .partition(|(name, _)| known_variables().iter().any(|known| known.name == in_full(name)));
    for (name, value) in known {
        let is_text = known_variables().iter().any(|known| known.name == in_full(name) && known.is_text);
        figment = figment.merge(Variable { name: name.clone(), value: value.clone(), is_text });
    }
    for (name, value) in &layers.flags {
        figment = figment.merge(Flag { name, value: value.clone() });
    }
    let mut settings: Settings = figment.extract().map_err(|error| ConfigError(sentence(&error)))?;
    resolve_store(&mut settings, layers)?;
    let warnings =
        unknown.iter().map(|(name, _)| format!("the environment variable {name} is not a setting of Gatelet"));
    Ok((settings, warnings.collect()))
}

/// `--ephemeral` and a database exclude each other, unless the stronger source overrides the weaker one.
fn resolve_store(settings: &mut Settings, layers: &Layers) -> Result<(), ConfigError> {
    if !settings.ephemeral {
        return Ok(());
    }
    let flagged = |name: &str| layers.flags.iter().any(|(flag, _)| *flag == name);
    if settings.database_url.is_some() && (flagged("database_url") || !flagged("ephemeral")) {
        return Err(ConfigError("an ephemeral store is in memory: leave out either it or the database URL".into()));
    }
    settings.database_url = None;
    Ok(())
}

fn check_readable(path: &Path) -> Result<(), ConfigError> {
    std::fs::metadata(path)
        .map(|_| ())
        .map_err(|error| ConfigError(format!("cannot read the configuration file {}: {error}", path.display())))
}

fn variable(layers: &Layers, name: &str) -> Option<String> {
    layers
        .environment
        .iter()
        .find(|(present, value)| present == name && !value.is_empty())
        .map(|(_, value)| value.clone())
}

/// The full name of a short variable.
fn in_full(name: &str) -> &str {
    SHORT_VARIABLES.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| full)
}

/// An environment variable that names a setting.
struct KnownVariable {
    name: String,
    /// Whether the setting is a text. Texts are taken literally: a password of digits is not a number.
    is_text: bool,
}

/// The environment variables that name a setting.
fn known_variables() -> Vec<KnownVariable> {
    fn collect(prefix: &str, value: &serde_json::Value, names: &mut Vec<KnownVariable>) {
        let Some(map) = value.as_object() else { return };
        for (key, value) in map {
            let name = format!("{prefix}{}", key.to_uppercase());
            if value.is_object() {
                collect(&format!("{name}__"), value, names);
            } else {
                // All settings without a default are texts.
                names.push(KnownVariable { name, is_text: value.is_null() || value.is_string() });
            }
        }
    }
    let mut names = Vec::new();
    collect(PREFIX, &serde_json::to_value(Settings::default()).unwrap_or_default(), &mut names);
    names
}

fn sentence(error: &figment::Error) -> String {
    let text = error.to_string().replace("default.", "");
    // TOML's own errors quote the line, which may contain a secret: `3 | api_key = "...`.
    let is_quote = |line: &&str| {
        line.split_once('|').is_some_and(|(number, _)| number.bytes().all(|byte| byte == b' ' || byte.is_ascii_digit()))
    };
    text.lines().filter(|line| !is_quote(line)).collect::<Vec<_>>().join("; ")
}

struct Variable {
    name: String,
    value: String,
    is_text: bool,
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        let name = self.name.clone();
        Metadata::named("the environment").interpolater(move |_, _| name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let key = in_full(&self.name)[PREFIX.len()..].to_lowercase().replace("__", ".");
        // Numbers, booleans and arrays are parsed as TOML.
        let text = || Value::from(self.value.clone());
        let value: Value = if self.is_text { text() } else { self.value.parse().unwrap_or_else(|_| text()) };
        Ok(nested(&key, value))
    }
}

struct Flag {
    name: &'static str,
    value: Value,
}

impl Provider for Flag {
    fn metadata(&self) -> Metadata {
        // A flag has no section.
        let flag = format!("--{}", self.name.rsplit('.').next().unwrap_or(self.name).replace('_', "-"));
        Metadata::named("the command line").interpolater(move |_, _| flag.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(nested(self.name, self.value.clone()))
    }
}

fn nested(key: &str, value: Value) -> Map<Profile, Dict> {
    let dict = figment::util::nest(key, value).into_dict().unwrap_or_default();
    Map::from_iter([(Profile::Default, dict)])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{ClientTokenAllowance, ControlEnabled, OriginMissing};

    fn environment(pairs: &[(&str, &str)]) -> Layers {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Layers { environment, ..Layers::default() }
    }

    fn file(text: &str) -> (tempfile::TempDir, Layers) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatelet.toml");
        std::fs::write(&path, text).unwrap();
        (folder, Layers { file: Some(path), ..Layers::default() })
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let (_folder, mut layers) =
            file("listen = '127.0.0.1:1'\norigin_missing = 'allow'\n[tokens]\nmax_lifetime = '1h'\n");
        let (settings, _) = load(&layers).unwrap();
        assert_eq!(settings.listen.port(), 1);
        assert_eq!(settings.tokens.max_lifetime, Duration::from_hours(1));
        assert_eq!(settings.origin_missing, OriginMissing::Allow);
        layers.environment =
            environment(&[("GATELET_LISTEN", "127.0.0.1:2"), ("GATELET_TOKENS__MAX_LIFETIME", "2h")]).environment;
        let (settings, _) = load(&layers).unwrap();
        assert_eq!((settings.listen.port(), settings.tokens.max_lifetime.as_secs()), (2, 7200));
        layers.flags = vec![("listen", Value::from("127.0.0.1:3"))];
        assert_eq!(load(&layers).unwrap().0.listen.port(), 3);
    }

    #[test]
    fn an_unknown_key_in_the_file_is_an_error_that_names_key_and_file() {
        for text in ["listn = '127.0.0.1:1'", "[tokens]\nlistn = 1"] {
            let (_folder, layers) = file(text);
            let error = load(&layers).unwrap_err().to_string();
            assert!(error.contains("listn") && error.contains("gatelet.toml"), "{error}");
        }
        let missing = Layers { file: Some("/nowhere/gatelet.toml".into()), ..Layers::default() };
        assert!(load(&missing).unwrap_err().to_string().contains("/nowhere/gatelet.toml"));
    }

    #[test]
    fn an_unknown_variable_is_a_warning_that_names_it() {
        let (settings, warnings) = load(&environment(&[
            ("GATELET_LISTN", "x"),
            ("GATELET_TOKENS__X", "1"),
            ("DATABASE_URL", "postgres://app"),
        ]))
        .unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("GATELET_LISTN") && warnings[1].contains("GATELET_TOKENS__X"));
        let of_tests = ["URL", "KEY", "BINARY", "KEEP"].map(|name| (format!("GATELET_{name}"), "x".to_owned()));
        assert!(load(&Layers { environment: of_tests.into(), ..Layers::default() }).unwrap().1.is_empty());
    }

    #[test]
    fn a_malformed_variable_is_named_and_an_empty_one_counts_as_unset() {
        let error = load(&environment(&[("GATELET_TOKENS__MAX_LIFETIME", "soon")])).unwrap_err().to_string();
        assert!(error.contains("GATELET_TOKENS__MAX_LIFETIME") || error.contains("tokens.max_lifetime"), "{error}");
        let error = load(&environment(&[("GATELET_LIMITS__STREAMS_PER_TOKEN", "-1")])).unwrap_err().to_string();
        assert!(error.contains("STREAMS_PER_TOKEN") && error.contains("whole number"), "{error}");
        assert_eq!(load(&environment(&[("GATELET_DATABASE_URL", "")])).unwrap().0, Settings::default());
    }

    #[test]
    fn values_from_the_environment_take_the_usual_spellings() {
        let (settings, _) = load(&environment(&[
            ("GATELET_EPHEMERAL", "1"),
            ("GATELET_API_KEYS__ALLOW_BROWSERS", "true"),
            ("GATELET_CLIENT_TOKENS__ALLOW", r#"["client_tools", "approvals"]"#),
            ("GATELET_LIMITS__BODY_BYTES", "1024"),
            ("GATELET_LIMITS__REQUESTS_PER_MINUTE", "60"),
            ("GATELET_METRICS_LISTEN", "127.0.0.1:9283"),
        ]))
        .unwrap();
        assert!(settings.ephemeral && settings.api_keys.allow_browsers);
        assert_eq!(settings.limits.body_bytes, 1024);
        assert_eq!((settings.limits.requests_per_minute, settings.limits.streams_per_token), (Some(60), None));
        assert_eq!(settings.metrics_listen.unwrap().port(), 9283);
        assert_eq!(settings.client_tokens.allow, [ClientTokenAllowance::ClientTools, ClientTokenAllowance::Approvals]);
    }

    #[test]
    fn a_secret_is_taken_as_it_is_and_never_shown() {
        let (settings, _) = load(&environment(&[("GATELET_UPSTREAM_API_KEY", "0123456")])).unwrap();
        assert_eq!(settings.upstream_api_key.as_ref().unwrap().reveal(), "0123456");
        assert!(!format!("{settings:?}").contains("0123456"));
        assert!(!serde_json::to_string(&settings).unwrap().contains("0123456"));
    }

    #[test]
    fn a_secret_in_a_malformed_file_is_named_and_not_shown() {
        for (text, key) in [
            ("listen = '127.0.0.1:1'\nmaster_key = \"7007", "line 2"),
            ("upstream_api_key = 7007-x", "line 1"),
            ("upstream_api_key = 70071234", "upstream_api_key"),
            ("upstream_api_key = [70071234]", "upstream_api_key"),
            ("master_key = 7007.1234", "master_key"),
            (
                "[[upstreams]]\nname = 'a'\nprojects = ['a']\nurl = 'http://a'\napi_key = 70071234",
                "upstreams.0.api_key",
            ),
        ] {
            let (_folder, layers) = file(text);
            let error = load(&layers).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("gatelet.toml"), "{error}");
            assert!(!error.contains("7007"), "{error}");
        }
    }

    #[test]
    fn upstreams_are_read_from_the_file() {
        let whole = "name = 'red'\nprojects = ['red', 'pink']\nurl = 'http://red'\n";
        let (_folder, layers) =
            file(&format!("upstream_url = 'http://a'\n[[upstreams]]\n{whole}[[upstreams]]\n{whole}api_key = 'canary'"));
        let (settings, _) = load(&layers).unwrap();
        assert_eq!(settings.upstreams.len(), 2);
        assert_eq!(settings.upstreams[0].projects, ["red", "pink"]);
        assert_eq!(settings.upstreams[1].api_key.as_ref().unwrap().reveal(), "canary");
        assert!(!format!("{settings:?}").contains("canary"));
        for (text, named) in [
            ("[[upstreams]]\nprojects = ['a']\nurl = 'http://a'".to_owned(), "name"),
            ("[[upstreams]]\nname = 'a'\nurl = 'http://a'".to_owned(), "projects"),
            ("[[upstreams]]\nname = 'a'\nprojects = ['a']".to_owned(), "url"),
            (format!("[[upstreams]]\n{whole}upstream_api_key = 'canary'"), "upstream_api_key"),
            (format!("[upstreams]\n{whole}"), "upstreams"),
            ("[[upstreams]]\nname = 'a'\nprojects = 'a'\nurl = 'http://a'".to_owned(), "upstreams.0.projects"),
        ] {
            let (_folder, layers) = file(&text);
            let error = load(&layers).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("gatelet.toml") && !error.contains("canary"), "{error}");
        }
        // They have no variables.
        let (settings, warnings) = load(&environment(&[("GATELET_UPSTREAMS", "[]")])).unwrap();
        assert!(settings.upstreams.is_empty() && warnings[0].contains("GATELET_UPSTREAMS"));
    }

    #[test]
    fn the_control_api_has_a_short_variable_and_its_settings_have_ranges() {
        let (settings, warnings) = load(&environment(&[
            ("GATELET_CONTROL", "TRUE"),
            ("GATELET_CONTROL__HOSTS", r#"["Gatelet.internal"]"#),
            ("GATELET_CONTROL__REQUIRE_NAMESPACE", "1"),
            ("GATELET_CONTROL__NAMESPACES", "1024"),
        ]))
        .unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let control = settings.control;
        assert_eq!((control.enabled, control.require_namespace, control.namespaces), (ControlEnabled::Yes, true, 1024));
        assert_eq!(control.hosts, ["gatelet.internal"]);
        for (written, read) in [("auto", ControlEnabled::Auto), ("off", ControlEnabled::No), ("1", ControlEnabled::Yes)]
        {
            assert_eq!(load(&environment(&[("GATELET_CONTROL", written)])).unwrap().0.control.enabled, read);
        }
        for (text, named) in [
            ("enabled = 'maybe'", "enabled"),
            ("namespaces = 0", "namespaces"),
            ("namespaces = 1025", "namespaces"),
            ("hosts = ['http://gatelet.internal']", "hosts"),
            ("hosts = ['gatelet.internal:8283']", "hosts"),
            ("hosts = ['*']", "hosts"),
            ("roaming = true", "roaming"),
        ] {
            let (_folder, layers) = file(&format!("[control]\n{text}"));
            let error = load(&layers).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("gatelet.toml"), "{error}");
        }
    }

    #[test]
    fn an_ephemeral_store_and_a_database_exclude_each_other() {
        let mut layers = environment(&[("GATELET_EPHEMERAL", "true")]);
        layers.flags = vec![("database_url", Value::from("sqlite://x.db"))];
        assert!(load(&layers).is_err());
        layers.flags.push(("ephemeral", Value::from(true)));
        assert!(load(&layers).is_err());
        let mut layers = environment(&[("GATELET_DATABASE_URL", "sqlite://x.db")]);
        layers.flags = vec![("ephemeral", Value::from(true))];
        assert_eq!(load(&layers).unwrap().0.database_url, None);
    }

    #[test]
    fn the_example_file_shows_every_setting_with_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gatelet.example.toml");
        let (settings, _) = load(&Layers { file: Some(path.clone()), ..Layers::default() }).unwrap();
        assert_eq!(settings, Settings::default());
        let text = std::fs::read_to_string(path).unwrap();
        for known in known_variables() {
            let key = known.name[PREFIX.len()..].to_lowercase();
            let key = key.rsplit("__").next().unwrap();
            assert!(text.contains(&format!("{key} =")), "{key} is not in the example");
        }
        // The comments contain an upstream with every setting.
        let lines = text.lines().skip_while(|line| *line != "# [[upstreams]]").take_while(|line| line.starts_with('#'));
        let example: Vec<&str> = lines.map(|line| line.trim_start_matches("# ")).collect();
        let example = example.iter().filter(|line| line.starts_with("[[") || line.contains(" = "));
        let (_folder, layers) = file(&example.copied().collect::<Vec<_>>().join("\n"));
        let (settings, _) = load(&layers).unwrap();
        let upstream = serde_json::to_value(&settings.upstreams[0]).unwrap();
        for (key, value) in upstream.as_object().unwrap() {
            assert!(!value.is_null(), "{key} of an upstream is not in the example");
        }
        let lines =
            text.lines().skip_while(|line| *line != "# [[app_servers]]").take_while(|line| line.starts_with('#'));
        let example: Vec<&str> = lines.map(|line| line.trim_start_matches("# ")).collect();
        let example = example.iter().filter(|line| line.starts_with("[[") || line.contains(" = "));
        let (_folder, layers) = file(&example.copied().collect::<Vec<_>>().join("\n"));
        let (settings, _) = load(&layers).unwrap();
        let server = serde_json::to_value(&settings.app_servers[0]).unwrap();
        for (key, value) in server.as_object().unwrap() {
            assert!(!value.is_null(), "{key} of an App Server is not in the example");
        }
    }
}
