//! Settings: defaults, then the file, then the environment, then flags.

mod layers;
mod secret;
mod settings;

pub use layers::{ConfigError, Layers, load};
pub use secret::Secret;
pub use settings::{
<<<<<<< HEAD
    ApiKeys, ClientTokenAllowance, ClientTokens, LogFormat, McpToolSettings, MockSettings, OriginMissing, Settings,
=======
    ApiKeys, ClientTokenAllowance, ClientTokens, LogFormat, MockSettings, NamedUpstream, OriginMissing, Settings,
>>>>>>> turns
    StreamAtExpiry,
};
