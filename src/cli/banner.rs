//! The banner that `serve` prints once it listens: for people, commands to copy and paste; for scripts, one line of JSON.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
};

use serde_json::json;

use super::CliError;
use crate::{config::LogFormat, credentials::PlainApiKey, http::App, seed::Applied};

/// The addresses that the server listens on.
#[derive(Clone, Copy)]
pub(super) struct Addresses {
    /// For requests.
    pub(super) service: SocketAddr,
    /// For metrics.
    pub(super) metrics: Option<SocketAddr>,
}

/// Prints the banner to stdout. `new_key` is shown only when it was just created.
pub(super) fn print(
    format: LogFormat,
    addresses: Addresses,
    app: &App,
    new_key: Option<&PlainApiKey>,
    has_keys: bool,
    seeded: Option<&Applied>,
    has_console: bool,
) -> Result<(), CliError> {
    let metrics = addresses.metrics.map(|address| format!("{}/metrics", url(address)));
    let (url, mode, store) = (url(addresses.service), app.backend.mode(), &app.store);
    // A key that was given is not shown, and the page asks for it.
    let key = new_key.map(|key| format!("#key={}", key.reveal())).unwrap_or_default();
    let console = has_console.then(|| format!("{url}/_gatelet/{key}"));
    let mut stdout = std::io::stdout().lock();
    match format {
        LogFormat::Json => {
            let mut line = json!({"event": "listening", "url": url, "mode": mode, "store": store.to_string()});
            if let Some(key) = new_key {
                line["api_key"] = key.reveal().into();
            }
            if let Some(metrics) = metrics {
                line["metrics"] = metrics.into();
            }
            if let Some(console) = console {
                line["console"] = console.into();
            }
            if let Some(Applied { refs, tokens }) = seeded {
                line["refs"] = refs.clone().into();
                line["tokens"] = tokens.clone().into();
            }
            writeln!(stdout, "{line}")?;
        }
        LogFormat::Pretty => {
            writeln!(stdout, "Gatelet {} is listening\n", env!("CARGO_PKG_VERSION"))?;
            writeln!(stdout, "  url      {url}\n  mode     {mode}\n  store    {store}")?;
            if let Some(metrics) = metrics {
                writeln!(stdout, "  metrics  {metrics}")?;
            }
            if let Some(console) = console {
                writeln!(stdout, "  console  {console}")?;
            }
            match new_key {
                Some(key) => writeln!(stdout, "  API key  {}   (shown only once)", key.reveal())?,
                None if has_keys => {}
                None => writeln!(stdout, "  API key  none yet: gatelet keys create --name NAME")?,
            }
            if let Some(Applied { refs, tokens }) = seeded {
                writeln!(stdout, "\nThe seed:\n")?;
                for (name, id) in refs {
                    let shown = tokens.get(name).map_or(id, |token| &token["token"]);
                    writeln!(stdout, "  {name}  {}", shown.as_str().unwrap_or_default())?;
                }
            }
            writeln!(stdout, "{}", snippets(&url, new_key.map(PlainApiKey::reveal)))?;
        }
    }
    stdout.flush()?;
    Ok(())
}

/// The URL at which this machine reaches an address.
pub(super) fn url(address: SocketAddr) -> String {
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(reachable, address.port()))
}

fn snippets(url: &str, new_key: Option<&str>) -> String {
    let environment = match new_key {
        Some(key) => format!("export LETTA_BASE_URL={url} LETTA_API_KEY={key}\n"),
        None => String::new(),
    };
    let (base_url, api_key) = match new_key {
        Some(key) => (format!("\"{url}\""), format!("\"{key}\"")),
        None => ("process.env.LETTA_BASE_URL".into(), "process.env.LETTA_API_KEY".into()),
    };
    format!(
        r#"
Try it with curl:

{environment}AGENT=$(curl -s "$LETTA_BASE_URL/v1/agents/" -H "Authorization: Bearer $LETTA_API_KEY" \
  -H 'Content-Type: application/json' -d '{{"name":"demo","model":"openai/gpt-4o-mini"}}' \
  | grep -oE 'agent-[0-9a-f]{{8}}-[0-9a-f-]{{27}}' | head -n 1)
TOKEN=$(curl -s "$LETTA_BASE_URL/v1/client-side-access-tokens" -H "Authorization: Bearer $LETTA_API_KEY" \
  -H 'Content-Type: application/json' -d '{{"hostname":"http://localhost:3000","policy":[{{"type":"agent",
  "id":"'"$AGENT"'","access":["read_messages","write_messages"]}}]}}' | grep -oE 'ck-let-[A-Za-z0-9_.-]+')
curl -s "$LETTA_BASE_URL/v1/agents/$AGENT/messages" -H "Authorization: Bearer $TOKEN" \
  -H 'Origin: http://localhost:3000' -H 'Content-Type: application/json' -d '{{"input":"Hello"}}'

Try it in TypeScript (npm install @letta-ai/letta-client):

import Letta from "@letta-ai/letta-client";
const server = new Letta({{ baseURL: {base_url}, apiKey: {api_key} }});
const agent = await server.agents.create({{ name: "demo", model: "openai/gpt-4o-mini" }});
const {{ token }} = await server.accessTokens.create({{
  hostname: "http://localhost:3000",
  policy: [{{ type: "agent", id: agent.id, access: ["read_messages", "write_messages"] }}],
}});
// In the page on http://localhost:3000. Outside a browser, the header must be set by hand.
const page = new Letta({{ baseURL: {base_url}, apiKey: token, defaultHeaders: {{ Origin: "http://localhost:3000" }} }});
console.log(await page.agents.messages.create(agent.id, {{ input: "Hello" }}));
"#
    )
}
