//! The variables of the environment as a layer of the configuration.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::{MAX_VARIABLES, NESTING};

/// What this layer is called in an error.
pub(super) const NAME: &str = "environment variables";

/// Variables that begin with a prefix, as nested tables.
pub(super) struct Environment(Dict);

impl Environment {
    /// Takes those with the prefix. A text is taken for what it looks like, unless the default
    /// of its key is a text.
    pub(super) fn of(
        variables: impl Iterator<Item = (String, String)>,
        prefix: &str,
        defaults: &Dict,
    ) -> Self {
        let ours = variables.filter_map(|(name, value)| {
            let key = name.strip_prefix(prefix)?.to_lowercase();
            Some((key.split(NESTING).map(str::to_owned).collect::<Vec<_>>(), value))
        });
        let mut table = Dict::new();
        for (path, text) in ours.take(MAX_VARIABLES) {
            let value = match default_of(defaults, &path) {
                Some(Value::String(..)) => Value::from(text),
                // Every text is some value.
                _ => text.parse().unwrap_or_else(|never| match never {}),
            };
            insert(&mut table, &path, value);
        }
        Self(table)
    }
}

fn default_of<'a>(defaults: &'a Dict, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    match defaults.get(first)? {
        value if rest.is_empty() => Some(value),
        Value::Dict(_, nested) => default_of(nested, rest),
        _ => None,
    }
}

fn insert(table: &mut Dict, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return;
    }
    let nested = table.entry(first.clone()).or_insert_with(|| Value::from(Dict::new()));
    if !matches!(nested, Value::Dict(..)) {
        // A variable of the table itself gives way to one of a key in it.
        *nested = Value::from(Dict::new());
    }
    if let Value::Dict(_, nested) = nested {
        insert(nested, rest, value);
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(NAME)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}
