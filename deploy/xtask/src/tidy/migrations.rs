//! Migrations of a database are numbered from 1 without a gap, each number once.

use std::collections::BTreeMap;

use super::{File, Finding};

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let migrations = files
        .iter()
        .filter(|file| file.path.starts_with("migrations/") && file.has_extension("sql"));
    for file in migrations {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or_default();
        match number(name) {
            Some(number) => numbers.entry(folder).or_default().push(number),
            None => findings.push(Finding::new(&file.path, "is not named NUMBER_what_it_does.sql")),
        }
    }
    for (folder, mut numbers) in numbers {
        numbers.sort_unstable();
        let expected = 1..;
        if let Some((expected, _)) = expected.zip(&numbers).find(|(wanted, got)| wanted != *got) {
            let what = format!("is numbered {numbers:?}: {expected} is missing or not unique");
            findings.push(Finding::new(folder, what));
        }
    }
    findings
}

fn number(name: &str) -> Option<u64> {
    let (digits, what) = name.split_once('_')?;
    (what.len() > ".sql".len()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn found(paths: &[&str]) -> Vec<String> {
        let files: Vec<File> =
            paths.iter().map(|path| File { path: (*path).into(), text: String::new() }).collect();
        check(&files).into_iter().map(|finding| finding.at).collect()
    }

    #[test]
    fn each_folder_counts_for_itself() {
        let paths = [
            "migrations/README.md",
            "migrations/sqlite/events/0001_log.sql",
            "migrations/sqlite/events/0002_reservation.sql",
            "migrations/sqlite/views/0001_projects.sql",
        ];
        assert!(found(&paths).is_empty());
    }

    #[test]
    fn gaps_doubles_and_nameless_files_are_found() {
        assert_eq!(
            found(&["migrations/a/0001_x.sql", "migrations/a/0003_y.sql"]),
            ["migrations/a"]
        );
        assert_eq!(
            found(&["migrations/a/0001_x.sql", "migrations/a/0001_y.sql"]),
            ["migrations/a"]
        );
        assert_eq!(found(&["migrations/a/0002_x.sql"]), ["migrations/a"]);
        assert_eq!(found(&["migrations/a/first.sql"]), ["migrations/a/first.sql"]);
    }
}
