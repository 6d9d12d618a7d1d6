//! Which command-line arguments may be shown.
//!
//! Any argument may hold a secret, so the rule shows what is recognised as harmless and hides
//! everything else:
//!
//! - a flag (`-y`, `--stdio`, `--api-key`);
//! - of `--flag=value` the flag: `--flag=…`;
//! - the first argument that is no flag (the program, package or subcommand), unless it may be
//!   the value of the flag before it, or looks like a value: with `=`, a scheme, or a long run
//!   of mixed letters and digits.

/// What stands in place of what is not shown.
pub const HIDDEN: &str = "…";

/// Flags that take no value, or whose value is the program itself (`python -m module`).
const BOOLEAN_FLAGS: [&str; 13] = [
    "-y",
    "--yes",
    "-i",
    "--rm",
    "-m",
    "--stdio",
    "-q",
    "--quiet",
    "-t",
    "-it",
    "-u",
    "--init",
    "--interactive",
];

/// The arguments as they may be shown: as many, in the same order.
pub fn shown_args(args: &[String]) -> Vec<String> {
    let mut first_word_seen = false;
    let mut before: Option<&str> = None;
    let mut shown = Vec::with_capacity(args.len());
    for arg in args {
        let may_be_value = before.is_some_and(takes_value);
        shown.push(if arg.starts_with('-') {
            show_flag(arg, may_be_value)
        } else if std::mem::replace(&mut first_word_seen, true)
            || may_be_value
            || !is_plain_word(arg)
        {
            HIDDEN.to_owned()
        } else {
            arg.clone()
        });
        before = Some(arg);
    }
    shown
}

/// Whether what follows this argument may be its value.
fn takes_value(arg: &str) -> bool {
    arg.starts_with('-') && !arg.contains('=') && !BOOLEAN_FLAGS.contains(&arg)
}

fn show_flag(arg: &str, may_be_value: bool) -> String {
    if arg == "--" || arg == "-" {
        return arg.to_owned();
    }
    if let Some((name, _)) = arg.split_once('=') {
        let shown = if may_be_value { is_strict_flag(name) } else { is_flag(name) };
        return if shown { format!("{name}={HIDDEN}") } else { HIDDEN.to_owned() };
    }
    // After a flag that may take a value, this may be a value that begins with a dash.
    let shown = if may_be_value { is_strict_flag(arg) } else { is_flag(arg) };
    if shown { arg.to_owned() } else { HIDDEN.to_owned() }
}

/// `-x`, `-it`, or `--` and words of letters with at most two digits.
fn is_flag(arg: &str) -> bool {
    let Some(long) = arg.strip_prefix("--") else {
        return is_short_flag(arg);
    };
    let digits = long.bytes().filter(u8::is_ascii_digit).count();
    long.len() <= 40
        && long.starts_with(|c: char| c.is_ascii_alphabetic())
        && digits <= 2
        && long.split(['-', '_', '.']).all(|word| {
            (1..=20).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// As [`is_flag`], in lower case without digits.
fn is_strict_flag(arg: &str) -> bool {
    let name = arg.trim_start_matches('-');
    is_flag(arg) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

fn is_short_flag(arg: &str) -> bool {
    arg.strip_prefix('-').is_some_and(|name| {
        (1..=2).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphabetic())
    })
}

/// Marks that tokens begin with.
const TOKEN_MARKS: [&str; 9] =
    ["sk-", "pk-", "ghp_", "gho_", "xoxb-", "xoxp-", "eyJ", "api_key_", "AKIA"];

/// A program, a package, a path or a subcommand, and nothing that looks like a token.
fn is_plain_word(arg: &str) -> bool {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"@/._:-+\\~".contains(&b);
    let host_with_user = arg.trim_start_matches('@').split_once('@').is_some_and(|(_, rest)| {
        // `package@1.2.3` and `package@latest` are versions; `user:password@host` is not.
        rest.contains(['/', ':', '@']) || rest.len() > 20
    });
    (1..=128).contains(&arg.len())
        && arg.bytes().all(harmless)
        && !arg.contains("://")
        && !host_with_user
        && !TOKEN_MARKS.iter().any(|mark| arg.starts_with(mark))
        && !arg.split(['/', '.', '-', '_', ':', '@', '\\', '+']).any(is_token_like)
        && !(arg.contains(':') && arg.contains('@'))
}

/// A run of letters and digits in which digits are strewn: no word, no version.
fn is_token_like(run: &str) -> bool {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    let letters = run.len() - digits;
    run.len() > 24 || (run.len() >= 8 && digits >= 3 && letters >= 1)
}
