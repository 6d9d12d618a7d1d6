//! Each crate takes its lints from the workspace, so that none is held to less.

use super::{File, Finding};

const INHERITS: &str = "[lints]\nworkspace = true\n";

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let crates = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    let without = crates.filter(|file| !file.text.contains(INHERITS));
    let what = "does not take its lints from the workspace ([lints] workspace = true)";
    without.map(|file| Finding::new(&file.path, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let manifest = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = [
            manifest("Cargo.toml", "[workspace.lints.rust]\n"),
            manifest("services/bus/Cargo.toml", "[lints]\nworkspace = true\n"),
            manifest("services/mcp/Cargo.toml", "[package]\nname = \"mcp\"\n"),
        ];
        let found: Vec<String> = check(&files).into_iter().map(|finding| finding.at).collect();
        assert_eq!(found, ["services/mcp/Cargo.toml"]);
    }
}
