//! A JSON object, read field by field, with refusals that name the field and show no value.

use std::collections::HashMap;

use domain::Refusal;
use serde_json::{Map, Value};

/// Most items of a list and most entries of a map in a request or a file.
const MAX_ITEMS: usize = 1_000;

/// A JSON object. Has no `Debug`: it may hold secrets.
pub struct Fields {
    map: Map<String, Value>,
}

impl Fields {
    /// The fields of an object.
    pub fn new(map: Map<String, Value>) -> Self {
        Self { map }
    }

    /// Parses the body of a request; an empty one has no fields.
    ///
    /// # Errors
    /// `InvalidArgument` when it is not a JSON object. Says where, not what.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::new(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self::new(map)),
            Ok(_) => Err(Refusal::invalid("body", "must be a JSON object")),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let message = format!("is not JSON: line {line}, column {column}");
                Err(Refusal::invalid("body", message))
            }
        }
    }

    /// The first of `names` that is there and not `null`, with its name.
    fn find(&self, names: &[&'static str]) -> Option<(&'static str, &Value)> {
        let given = names.iter().filter_map(|name| Some((*name, self.map.get(*name)?)));
        given.into_iter().find(|(_, value)| !value.is_null())
    }

    /// Whether one of `names` is there and not `null`.
    pub fn has(&self, names: &[&'static str]) -> bool {
        self.find(names).is_some()
    }

    /// A text under one of `names`.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else.
    pub fn text(&self, names: &[&'static str]) -> Result<Option<String>, Refusal> {
        self.read(names, "must be a text", |value| value.as_str().map(str::to_owned))
    }

    /// As [`text`](Self::text), but it must be there.
    ///
    /// # Errors
    /// `InvalidArgument` when it is missing or something else.
    pub fn required_text(&self, name: &'static str) -> Result<String, Refusal> {
        self.text(&[name])?.ok_or_else(|| Refusal::invalid(name, "is missing"))
    }

    /// A whole number, 0 to 2³²−1.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else.
    pub fn number(&self, names: &[&'static str]) -> Result<Option<u32>, Refusal> {
        self.read(names, "must be a whole number that is not negative", |value| {
            let whole = value.as_u64().or_else(|| {
                let float = value.as_f64().filter(|float| float.fract() == 0.0)?;
                // 30.0 is as whole as 30: some writers know no other numbers.
                (0.0..=f64::from(u32::MAX)).contains(&float).then_some(float as u64)
            });
            whole.and_then(|number| u32::try_from(number).ok())
        })
    }

    /// True or false.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else.
    pub fn flag(&self, names: &[&'static str]) -> Result<Option<bool>, Refusal> {
        self.read(names, "must be true or false", Value::as_bool)
    }

    /// A list of texts; numbers are taken as written.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else, or has more than 1,000 items.
    pub fn texts(&self, names: &[&'static str]) -> Result<Option<Vec<String>>, Refusal> {
        self.read(names, "must be a list of at most 1,000 texts", |value| {
            let list = value.as_array().filter(|list| list.len() <= MAX_ITEMS)?;
            list.iter().map(scalar).collect()
        })
    }

    /// A map of texts; numbers, true and false are taken as written.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else, or has more than 1,000 entries.
    pub fn map(&self, names: &[&'static str]) -> Result<Option<HashMap<String, String>>, Refusal> {
        self.read(names, "must be an object of at most 1,000 texts", |value| {
            let map = value.as_object().filter(|map| map.len() <= MAX_ITEMS)?;
            map.iter().map(|(name, value)| Some((name.clone(), scalar(value)?))).collect()
        })
    }

    /// An object under one of `names`.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else.
    pub fn object(&self, names: &[&'static str]) -> Result<Option<Self>, Refusal> {
        self.read(names, "must be an object", |value| value.as_object().cloned().map(Self::new))
    }

    /// The names and values.
    pub fn into_entries(self) -> impl Iterator<Item = (String, Value)> {
        self.map.into_iter()
    }

    fn read<T>(
        &self,
        names: &[&'static str],
        rule: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some((name, value)) = self.find(names) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| Refusal::invalid(name, rule))
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_wrong_type_names_the_field_and_not_the_value() {
        let fields = fields(r#"{"a":"canary","b":{"canary":[]},"c":-1,"d":1.5,"e":["canary",{}]}"#);
        for (result, field) in [
            (fields.number(&["x", "a"]).map(drop), "a"),
            (fields.text(&["b"]).map(drop), "b"),
            (fields.map(&["b"]).map(drop), "b"),
            (fields.number(&["c"]).map(drop), "c"),
            (fields.number(&["d"]).map(drop), "d"),
            (fields.texts(&["e"]).map(drop), "e"),
            (fields.flag(&["a"]).map(drop), "a"),
        ] {
            let refusal = result.unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field));
            assert!(!refusal.message.contains("canary"));
        }
    }

    #[test]
    fn numbers_are_taken_as_written_where_texts_are_wanted() {
        let fields = fields(r#"{"env":{"PORT":8080,"ON":true},"n":30.0,"null":null}"#);
        let env = fields.map(&["env"]).unwrap().unwrap();
        assert_eq!((env["PORT"].as_str(), env["ON"].as_str()), ("8080", "true"));
        assert_eq!(fields.number(&["n"]), Ok(Some(30)));
        assert_eq!(fields.text(&["null"]), Ok(None));
    }

    #[test]
    fn a_body_that_is_no_object_is_refused_without_showing_it() {
        for body in ["[1]", "{canary", "\"canary\""] {
            let refusal = Fields::parse(body.as_bytes()).err().unwrap();
            assert!(!refusal.message.contains("canary"), "{}", refusal.message);
        }
        assert!(!fields("  ").has(&["a"]));
    }
}
