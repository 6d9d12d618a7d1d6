//! Rules for names and texts that people type.

use crate::error::Refusal;

/// Checks a name of 1–100 characters without control characters, and trims it.
///
/// # Errors
/// Names the field and the rule that is broken.
pub fn name(field: &str, text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) {
        return Err(Refusal::invalid(
            field,
            "must have 1 to 100 characters and no control characters",
        ));
    }
    Ok(text.to_owned())
}

/// Checks a free text of up to 1,000 characters.
///
/// # Errors
/// Names the field and the rule that is broken.
pub fn description(field: &str, text: &str) -> Result<String, Refusal> {
    if text.chars().count() > 1_000 {
        return Err(Refusal::invalid(field, "must have at most 1,000 characters"));
    }
    Ok(text.trim().to_owned())
}

/// Checks an e-mail address well enough to hold it unique, and puts it in lower case. Only a
/// message that arrives proves an address.
///
/// # Errors
/// Names the field and the rule that is broken.
pub fn email(field: &str, text: &str) -> Result<String, Refusal> {
    let text = text.trim().to_lowercase();
    let fits = text.len() <= 254
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.contains('@')
        });
    if fits { Ok(text) } else { Err(Refusal::invalid(field, "must be an e-mail address")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(name("name", "  a b ").as_deref(), Ok("a b"));
        for bad in ["", "   ", "a\nb", &"x".repeat(101)] {
            assert!(name("name", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn emails_are_lower_case_and_have_one_at() {
        assert_eq!(email("email", "A@B.c").as_deref(), Ok("a@b.c"));
        for bad in ["a", "@b", "a@", "a@b@c", "a b@c", ""] {
            assert!(email("email", bad).is_err(), "{bad:?}");
        }
    }
}
