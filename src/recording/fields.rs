//! Fields of SigMF's JSON objects, read one by one, so that an error names the field.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A JSON object, and what to call it in errors: `` for the global one, `captures[2]: ` for a capture.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    place: String,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which has to be an object.
    pub(super) fn of(value: Option<&'a Value>, place: impl Into<String>) -> Result<Self, String> {
        let place = place.into();
        match value.and_then(Value::as_object) {
            Some(object) => Ok(Self { object, place }),
            None => Err(format!("{}no JSON object there; accepted: SigMF metadata", place)),
        }
    }

    /// A field that may be missing, or null.
    pub(super) fn optional<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, String> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|error| format!("{}{key}: {error}", self.place)),
        }
    }

    /// A field that has to be there.
    pub(super) fn needed<T: DeserializeOwned>(&self, key: &str) -> Result<T, String> {
        self.optional(key)?.ok_or_else(|| format!("{}{key} is missing; it is needed in SigMF", self.place))
    }

    /// The objects of a list that may be missing, each with its place.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<Fields<'a>>, String> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                let each = list.iter().enumerate();
                each.map(|(index, value)| Fields::of(Some(value), format!("{key}[{index}]: "))).collect()
            }
            Some(_) => Err(format!("{}{key} is no list", self.place)),
        }
    }
}
