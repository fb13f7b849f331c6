//! The signing keys of this installation, held in memory and replaced as a whole when they change.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{Claims, ClientToken, InvalidToken, MasterKey, SigningKey, client_token, master_key::WrongMasterKey};
use crate::{
    clock::{Clock, Millis},
    store::{ClientTokenRow, Store, StoreError},
};

/// How long after a rotation another replica may still sign with the retired key.
const HANDOVER: Millis = 60_000;

/// The installation's signing keys.
#[derive(Debug)]
pub struct Keyring {
    issuer: String,
    master_key: MasterKey,
    clock: Clock,
    keys: RwLock<Arc<Keys>>,
}

#[derive(Debug)]
struct Keys {
    active: Arc<SigningKey>,
    by_header: HashMap<String, KnownKey>,
}

/// A key. Keys are never forgotten: a clock that ran ahead may be corrected.
#[derive(Debug)]
struct KnownKey {
    key: Arc<SigningKey>,
    /// When it stops to verify; `None` for the key that signs.
    spent_at: Option<Millis>,
}

/// Why the signing keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key is not the one the keys were sealed under.
    #[error(transparent)]
    WrongMasterKey(#[from] WrongMasterKey),
    /// A token signed with the active key did not verify.
    #[error("the active signing key does not verify what it signs")]
    SelfTest,
}

impl Keyring {
    /// Loads the keys. If there is none, generates and stores the installation's first key.
    ///
    /// # Errors
    /// When the database fails or the master key is wrong.
    pub async fn load(store: &Store, master_key: MasterKey, clock: Clock) -> Result<Self, KeyringError> {
        let issuer = match store.issuer().await? {
            Some(issuer) => issuer,
            None => {
                let issuer = uuid::Uuid::new_v4().to_string();
                store.install(&issuer, &SigningKey::generate(&master_key, clock.now_millis())).await?;
                store.issuer().await?.unwrap_or(issuer)
            }
        };
        let keys = RwLock::new(Arc::new(read_keys(store, &master_key).await?));
        let keyring = Self { issuer, master_key, clock, keys };
        keyring.self_test()?;
        Ok(keyring)
    }

    /// Reloads the keys.
    ///
    /// # Errors
    /// When the database fails or the master key is wrong; the current keys stay in that case.
    pub async fn reload(&self, store: &Store) -> Result<(), KeyringError> {
        let keys = Arc::new(read_keys(store, &self.master_key).await?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Generates a key that signs from now on. The others verify until their last token has expired. Returns the new
    /// key's id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate(&self, store: &Store) -> Result<String, KeyringError> {
        let key = SigningKey::generate(&self.master_key, self.clock.now_millis());
        store.rotate_signing_key(&key).await?;
        self.reload(store).await?;
        Ok(key.kid)
    }

    /// A message authentication code of these parts, for one purpose: all processes of the installation make the same, and
    /// nobody else can.
    #[must_use]
    pub(crate) fn authenticate(&self, purpose: &str, parts: &[&str]) -> [u8; 32] {
        let mut message = Vec::new();
        for part in [self.issuer.as_str()].iter().chain(parts) {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part.as_bytes());
        }
        self.master_key.authenticate(purpose, &message)
    }

    /// The id of the key that signs.
    #[must_use]
    pub fn active_kid(&self) -> String {
        self.keys().active.kid().to_owned()
    }

    /// The first segments of the tokens that these keys sign. Each is of one key, which no other installation has.
    #[must_use]
    pub(crate) fn token_headers(&self) -> Vec<String> {
        self.keys().by_header.keys().cloned().collect()
    }

    /// The token of a stored row. It is the same text every time.
    ///
    /// # Errors
    /// When the key that signed it is missing, which does not happen while the token lives.
    pub fn sign(&self, row: &ClientTokenRow) -> Result<String, StoreError> {
        let keys = self.keys();
        let key = keys.by_header.values().map(|known| &known.key).find(|key| key.kid() == row.kid);
        let key = key.ok_or_else(|| StoreError::Inconsistent(format!("signing key {} is gone", row.kid)))?;
        client_token::sign(&Claims::of(row, &self.issuer), key).map_err(|e| StoreError::Inconsistent(e.to_string()))
    }

    /// Verifies a token's form, signature and claims. The caller checks expiry and revocation.
    ///
    /// # Errors
    /// When it is not a valid token of this installation.
    pub fn verify(&self, token: &str) -> Result<ClientToken, InvalidToken> {
        self.read(token, |known| known.spent_at.is_none_or(|spent_at| self.clock.now_millis() < spent_at))
    }

    /// Verifies a token like [`Keyring::verify`], but accepts retired keys whose tokens have all expired: if the clock
    /// ran ahead, such a token may still have to be revoked.
    ///
    /// # Errors
    /// When it is not a valid token of this installation.
    pub fn recognize(&self, token: &str) -> Result<ClientToken, InvalidToken> {
        self.read(token, |_| true)
    }

    fn read(&self, token: &str, is_good: impl FnOnce(&KnownKey) -> bool) -> Result<ClientToken, InvalidToken> {
        if token.len() > client_token::MAX_LENGTH {
            return Err(InvalidToken::Malformed);
        }
        let header = client_token::header_segment(token).ok_or(InvalidToken::Malformed)?;
        match self.keys().by_header.get(header).filter(|known| is_good(known)) {
            // A valid signature implies a valid form.
            Some(known) => client_token::verify(token, &known.key, &self.issuer),
            None if client_token::is_well_formed(token) => Err(InvalidToken::UnknownKey),
            None => Err(InvalidToken::Malformed),
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A JWT library without a working cryptography provider compiles, and fails at the first token. This fails at the
    /// start.
    fn self_test(&self) -> Result<(), KeyringError> {
        let now = self.clock.now_millis();
        let row = ClientTokenRow {
            id: uuid::Uuid::nil(),
            kid: self.active_kid(),
            key_id: String::new(),
            project: crate::model::Project::default(),
            origin: String::new(),
            hostname: String::new(),
            policy: crate::model::Policy::default(),
            issued_at: now,
            expires_at: now,
        };
        match self.sign(&row).map(|token| self.verify(&token)) {
            Ok(Ok(token)) if token.expires_at == now => Ok(()),
            _ => Err(KeyringError::SelfTest),
        }
    }
}

async fn read_keys(store: &Store, master_key: &MasterKey) -> Result<Keys, KeyringError> {
    let last_expiry: HashMap<String, Millis> = store.last_expiry_by_signing_key().await?.into_iter().collect();
    let mut active = None;
    let mut by_header = HashMap::new();
    for row in store.signing_keys().await? {
        let key = Arc::new(SigningKey::unseal(&row, master_key)?);
        let spent_at = key.retired_at().map(|retired_at| {
            let handed_over = retired_at.saturating_add(HANDOVER);
            last_expiry.get(key.kid()).map_or(handed_over, |expiry| handed_over.max(*expiry))
        });
        if spent_at.is_none() {
            active = Some(Arc::clone(&key));
        }
        by_header.insert(key.header_segment().to_owned(), KnownKey { key, spent_at });
    }
    let active = active.ok_or_else(|| StoreError::Inconsistent("there is no active signing key".into()))?;
    Ok(Keys { active, by_header })
}
