//! Session tokens: JWTs signed with Ed25519.
//!
//! The key is made at the first start and sealed in the secret store. Only `EdDSA` is accepted,
//! whatever a token's header says of itself, and only under our own key id.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ErrorCode, Refusal, TenantId, Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use secrecy::SecretString;
use secrets::{SecretPath, SecretStore, SecretValue};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fault;

/// How long a session lasts, in seconds.
const SESSION_SECONDS: i64 = 3_600;
/// For whom the tokens are.
const AUDIENCE: &str = "mcp-orch:control";
/// Longest text that is looked at as a token.
const MAX_LEN: usize = 4_096;

const KEY_PATH: &str = "identity/token-key";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it: the public URL.
    pub iss: String,
    /// For whom: [`AUDIENCE`].
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The organization in which the user acts.
    pub org: TenantId,
    /// When it was issued, in seconds since the epoch.
    pub iat: i64,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
    /// The session.
    pub jti: Uuid,
}

/// Issues and checks tokens. Has no `Debug`: it holds the key.
#[derive(Clone)]
pub struct TokenAuthority {
    issuer: String,
    key_id: String,
    signing: EncodingKey,
    checking: DecodingKey,
}

impl TokenAuthority {
    /// Takes the key from the store; made at the first start, by whichever process comes first.
    ///
    /// # Errors
    /// When the store is not available or holds no key where the key should be.
    pub async fn open(secrets: &dyn SecretStore, issuer: &str) -> Result<Self, Refusal> {
        let path =
            SecretPath::new(TenantId::SYSTEM, KEY_PATH).map_err(|error| fault::internal(&error))?;
        // Several processes may start at the same time: all of them go on with one key.
        let offered = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|error| fault::internal(&error))?;
        let offered = SecretValue::from(offered.as_ref().to_vec());
        let (_, key) = secrets.create_once(&path, offered).await.map_err(fault::secret)?;
        let pair = Ed25519KeyPair::from_pkcs8(key.expose())
            .map_err(|_| fault::internal(&"the sealed token key is not an Ed25519 key"))?;
        let public = pair.public_key().as_ref();
        let key_id = URL_SAFE_NO_PAD.encode(&digest(&SHA256, public).as_ref()[..12]);
        Ok(Self {
            issuer: issuer.to_owned(),
            key_id,
            signing: EncodingKey::from_ed_der(key.expose()),
            checking: DecodingKey::from_ed_der(public),
        })
    }

    /// A token for a session of `user` that begins `now`, and when it ends.
    ///
    /// # Errors
    /// When signing fails, which is a fault of ours.
    pub fn issue(
        &self,
        user: UserId,
        tenant: TenantId,
        now: Timestamp,
        session: Uuid,
    ) -> Result<(SecretString, Timestamp), Refusal> {
        let issued_s = now.as_micros().div_euclid(1_000_000);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            org: tenant,
            iat: issued_s,
            exp: issued_s.saturating_add(SESSION_SECONDS),
            jti: session,
        };
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims, &self.signing)
            .map_err(|error| fault::internal(&error))?;
        let ends = Timestamp::from_micros(claims.exp.saturating_mul(1_000_000));
        Ok((SecretString::from(token), ends))
    }

    /// What a token says, if it is one of ours and has not ended at `now`.
    ///
    /// # Errors
    /// `Unauthenticated`, without a hint what is wrong with it.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<Claims, Refusal> {
        if token.len() > MAX_LEN {
            return Err(refused());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused())?;
        if header.alg != Algorithm::EdDSA || header.kid.as_deref() != Some(&self.key_id) {
            return Err(refused());
        }
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The clock is a parameter: the end is checked below.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checking, &rules)
            .map_err(|_| refused())?
            .claims;
        let now_s = now.as_micros().div_euclid(1_000_000);
        if claims.exp <= now_s || claims.iat > now_s.saturating_add(60) {
            return Err(refused());
        }
        Ok(claims)
    }
}

/// No, an unknown, an altered or an ended token.
pub(crate) fn refused() -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, "log in: the session token is missing or not valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::encode;
    use secrecy::ExposeSecret as _;
    use secrets::MemoryStore;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    async fn authority(store: &MemoryStore) -> TokenAuthority {
        TokenAuthority::open(store, "http://here").await.unwrap()
    }

    fn claims() -> Claims {
        Claims {
            iss: "http://here".into(),
            aud: AUDIENCE.into(),
            sub: UserId::from_uuid(Uuid::from_u128(1)),
            org: TenantId::from_uuid(Uuid::from_u128(2)),
            iat: 1_700_000_000,
            exp: 1_700_000_100,
            jti: Uuid::nil(),
        }
    }

    fn sign(authority: &TokenAuthority, claims: &Claims) -> String {
        let kid = Some(authority.key_id.clone());
        let header = Header { kid, ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &authority.signing).unwrap()
    }

    #[tokio::test]
    async fn an_issued_token_is_accepted_until_it_ends_and_by_the_next_start() {
        let store = MemoryStore::new();
        let (user, tenant) = (claims().sub, claims().org);
        let (token, ends) = authority(&store).await.issue(user, tenant, NOW, Uuid::nil()).unwrap();
        let again = authority(&store).await;
        let checked = again.check(token.expose_secret(), NOW).unwrap();
        assert_eq!((checked.sub, checked.org), (user, tenant));
        assert!(again.check(token.expose_secret(), ends).is_err());
    }

    #[tokio::test]
    async fn wrong_claims_are_refused() {
        let authority = authority(&MemoryStore::new()).await;
        assert!(authority.check(&sign(&authority, &claims()), NOW).is_ok());
        for wrong in [
            Claims { aud: "other".into(), ..claims() },
            Claims { iss: "http://there".into(), ..claims() },
            Claims { exp: 1_700_000_000, ..claims() },
            Claims { iat: 1_700_000_090, exp: 1_700_009_000, ..claims() },
        ] {
            assert!(authority.check(&sign(&authority, &wrong), NOW).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn no_other_algorithm_and_no_other_key_is_accepted() {
        let store = MemoryStore::new();
        let ours = authority(&store).await;
        let foreign = authority(&MemoryStore::new()).await;
        let mut forged = foreign.clone();
        forged.key_id.clone_from(&ours.key_id);
        assert!(ours.check(&sign(&forged, &claims()), NOW).is_err());

        // HS256 with the public key as the secret.
        let path = SecretPath::new(TenantId::SYSTEM, KEY_PATH).unwrap();
        let (_, key) = store.latest(&path).await.unwrap();
        let public = Ed25519KeyPair::from_pkcs8(key.expose()).unwrap();
        let secret = EncodingKey::from_secret(public.public_key().as_ref());
        let header = Header { kid: Some(ours.key_id.clone()), ..Header::new(Algorithm::HS256) };
        let confused = encode(&header, &claims(), &secret).unwrap();
        assert!(ours.check(&confused, NOW).is_err());

        // alg: none, in each spelling, with and without a signature.
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
        for alg in ["none", "None", "NONE"] {
            let header = format!("{{\"alg\":\"{alg}\",\"kid\":\"{}\"}}", ours.key_id);
            let header = URL_SAFE_NO_PAD.encode(header);
            for signature in ["", "AAAA"] {
                assert!(ours.check(&format!("{header}.{payload}.{signature}"), NOW).is_err());
            }
        }

        // One altered character of a good token.
        let good = sign(&ours, &claims());
        let altered = good.replacen('.', ".A", 1);
        assert!(ours.check(&altered, NOW).is_err());
        for junk in ["", "a.b.c", "..", &"x".repeat(MAX_LEN + 1)] {
            assert!(ours.check(junk, NOW).is_err());
        }
    }
}
