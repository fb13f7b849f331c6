//! Settings: defaults, then the file, then the environment, then flags.

mod app_server;
mod control;
mod duration;
mod layers;
mod secret;
mod settings;
mod word;

pub use app_server::{AppServerSettings, NamedAppServer, ReflectionRule};
pub use control::{ControlEnabled, ControlSettings};
pub use layers::{ConfigError, Layers, load};
pub use secret::Secret;
pub use settings::{
    ApiKeys, ClientTokenAllowance, ClientTokens, Limits, LogFormat, McpToolSettings, MockModels, MockReasoning,
    MockSettings, NamedUpstream, OriginMissing, Settings, StreamAtExpiry,
};
