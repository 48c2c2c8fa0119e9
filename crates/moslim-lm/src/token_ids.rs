//! Token ids as configurations spell them.

use serde::{Deserialize, Deserializer, Serialize};

/// One token id or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIds {
    /// One.
    One(u32),
    /// Several, any of them.
    Any(Vec<u32>),
}

impl TokenIds {
    /// The ids as a list.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Any(ids) => ids,
        }
    }
}

/// Reads an id; a negative one, as old configurations have it, is none.
pub(crate) fn optional_id<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    let id: Option<i64> = Option::deserialize(value)?;
    let too_large = |_| serde::de::Error::custom(format!("{id:?} is no token id"));
    id.filter(|&id| id >= 0).map(|id| u32::try_from(id).map_err(too_large)).transpose()
}
