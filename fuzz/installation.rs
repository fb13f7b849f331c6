//! An installation in memory whose keys and tokens are the same in every run, so that seeds can hold real ones. Its keys
//! protect nothing.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gatelet::{
    access::{Authenticator, Feed, RequestContext, TestKeys, authenticator::Bearer},
    api::{
        Issuer,
        issuer::{Minter, TokenRequest},
    },
    clock::{Clock, Millis},
    credentials::{Fingerprint, Keyring, MasterKey, PlainApiKey},
    error::ApiError,
    model::{Access, Policy, PolicyEntry, Project},
    store::{ClientTokenRow, IfMissing, NewApiKey, SigningKeyRow, Store, StoreOptions},
};
use http::HeaderMap;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// The id of the API key that mints tokens.
pub(crate) const KEY_ID: &str = "key-1";

/// The longest a token may live here.
pub(crate) const MAX_LIFETIME: Millis = 30 * 24 * 60 * 60 * 1000;

const API_KEY: &str = "sk-let-0123456789abcdef";
const ISSUER: &str = "installation-1";
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const KID: &str = "47460cd4d47ddc2b";
const PUBLIC_KEY: &str = "4db81fa094d26ec6a40196acec61a767ff57d871f6df91bc00a57d3d47b35598";
const SEALED_PRIVATE_KEY: &str = "20b57d3a4f5901a0bd107d0e1458d253855fdb5d8386c3cbb38538c55621368680b82a616e216854bc\
    29e19a23524a57a53a8cc3b294adcb8b9ac9ae20d52f6dbcc53b0081cca362a3c71d4f7a420461aaea9e9c6f4ca0f7aab60f201e4bd8bf7bb3\
    326ecdbdc1fa29f5edc0f54cb1";

/// 2100-01-01.
const FAR: Millis = 4_102_444_800_000;

/// The installation of this process.
pub(crate) static INSTALLATION: LazyLock<Installation> = LazyLock::new(Installation::new);

pub(crate) struct Installation {
    runtime: Runtime,
    store: Store,
    keyring: Arc<Keyring>,
    authenticator: Authenticator,
    issuer: Issuer,
    issued: AtomicU32,
    /// What the installation holds good, and what it once did.
    pub(crate) api_key: &'static str,
    pub(crate) live: String,
    pub(crate) revoked: String,
    pub(crate) expired: String,
}

impl Installation {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (store, keyring, feed) = runtime.block_on(open());
        let token = |number: u128, expires_at| {
            let row = row(Uuid::from_u128(number), expires_at);
            keyring.sign(&row).expect("the key that signs is there")
        };
        let [live, revoked, expired] = [token(1, FAR), token(2, FAR), token(3, 1_700_000_000_000)];
        let verified = keyring.verify(&revoked).expect("it was just signed");
        runtime.block_on(feed.revoke(&verified)).expect("a store in memory");
        let max_lifetime = Duration::from_millis(MAX_LIFETIME.unsigned_abs());
        Self {
            authenticator: Authenticator::new(
                store.clone(),
                Arc::clone(&keyring),
                feed,
                Clock::system(),
                100,
                TestKeys::Refused,
            ),
            issuer: Issuer::new(store.clone(), Arc::clone(&keyring), Clock::system(), max_lifetime),
            issued: AtomicU32::new(0),
            api_key: API_KEY,
            runtime,
            store,
            keyring,
            live,
            revoked,
            expired,
        }
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Finds out who is calling.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> (Result<Bearer, ApiError>, Option<Fingerprint>) {
        let mut context = RequestContext::default();
        let bearer = self.runtime.block_on(self.authenticator.identify(headers, &mut context));
        (bearer, context.fingerprint)
    }

    /// Issues a token.
    pub(crate) fn issue(&self, request: TokenRequest) -> Result<(ClientTokenRow, String), ApiError> {
        let minter = Minter { key_id: KEY_ID, project: &Project::default(), key_expires_at: None };
        self.runtime.block_on(async {
            if self.issued.fetch_add(1, Ordering::Relaxed).is_multiple_of(1_000) {
                // A long run must not fill the memory.
                self.store.purge_expired(Millis::MAX, 1_000).await?;
            }
            self.issuer.issue(request, &minter).await
        })
    }
}

async fn open() -> (Store, Arc<Keyring>, Feed) {
    let statement_timeout = Duration::from_secs(5);
    let options = StoreOptions {
        url: None,
        max_connections: 1,
        statement_timeout,
        if_missing: IfMissing::Create,
        most_read: usize::MAX,
    };
    let store = Store::open(&options).await.expect("a store in memory");
    store.migrate().await.expect("a store in memory");
    let key = SigningKeyRow {
        kid: KID.into(),
        public_key: hex::decode(PUBLIC_KEY).expect("hexadecimal"),
        sealed_private_key: hex::decode(SEALED_PRIVATE_KEY).expect("hexadecimal"),
        created_at: 0,
        retired_at: None,
    };
    store.install(ISSUER, &key).await.expect("a store in memory");
    let hash = PlainApiKey::parse(API_KEY).expect("a key").hash();
    let key =
        NewApiKey { id: KEY_ID, name: "first", project: None, secret_sha256: &hash, created_at: 0, expires_at: None };
    store.insert_api_key(&key).await.expect("a store in memory");
    let master_key = MasterKey::parse(MASTER_KEY).expect("a key");
    let keyring = Arc::new(Keyring::load(&store, master_key, Clock::system()).await.expect("the key opens"));
    let feed = Feed::load(store.clone(), Arc::clone(&keyring), Duration::MAX, Clock::system())
        .await
        .expect("a store in memory");
    (store, keyring, feed)
}

fn row(id: Uuid, expires_at: Millis) -> ClientTokenRow {
    let mut policy = Policy::default();
    policy.add(PolicyEntry { id: "agent-1".parse().expect("an id"), access: vec![Access::ReadMessages] });
    ClientTokenRow {
        id,
        kid: KID.into(),
        key_id: KEY_ID.into(),
        project: Project::default(),
        origin: "https://app.example".into(),
        hostname: "https://app.example".into(),
        policy,
        issued_at: 0,
        expires_at,
    }
}
