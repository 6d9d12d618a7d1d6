//! The contracts in `proto/`: lint, format, and no breaking change against the main branch.

use std::fs;
use std::path::Path;

use super::report::{Note, Report};
use crate::failure::{Context, Outcome};
use crate::process;
use crate::tools::node::{self, Node};
use crate::workspace::Workspace;

/// Runs the steps of `buf`, after installing it.
pub(crate) fn check(workspace: &Workspace, report: &Report) {
    let modules = match Node::find_or_install(workspace).and_then(|node| node.modules(workspace)) {
        Ok(modules) => modules,
        Err(failure) => return report.step("buf", || Err(failure)),
    };
    let buf = node::buf(&modules);
    let run = |arguments: &[&str]| {
        process::capture(process::command(&buf, &workspace.root).args(arguments)).map(|_| None)
    };
    report.step("buf lint", || run(&["lint"]));
    report.step("buf format", || run(&["format", "--diff", "--exit-code"]));
    report.step("buf breaking", || breaking(workspace, &run));
}

fn breaking(workspace: &Workspace, run: &dyn Fn(&[&str]) -> Outcome<Note>) -> Outcome<Note> {
    let root = &workspace.root;
    let Some(base) = base(root) else {
        return Ok(Some("skipped: there is no commit to compare with".into()));
    };
    if !has_contracts(root, &base) {
        return Ok(Some(format!("skipped: {base:.12} has no contracts yet")));
    }
    fs::create_dir_all(workspace.cache()).cannot(|| "create .cache".into())?;
    let archive = workspace.cache().join("contracts-base.tar");
    let mut export = process::command("git", root);
    export.args(["archive", "--format=tar", "--output"]).arg(&archive);
    process::capture(export.args([&base, "buf.yaml", "proto"]))?;
    run(&["breaking", "--against", &archive.display().to_string()])?;
    Ok(Some(format!("against {base:.12}")))
}

/// The commit that the contracts in the tree must be compatible with: the main branch, or the
/// commit before where the tree is the main branch as it is committed.
fn base(root: &Path) -> Option<String> {
    let commit = |name: &str| {
        let spec = format!("{name}^{{commit}}");
        let mut git = process::command("git", root);
        let printed = process::capture(git.args(["rev-parse", "--verify", "--quiet", &spec]));
        printed.ok().map(|commit| commit.trim().to_owned())
    };
    let head = commit("HEAD")?;
    let main = commit("origin/main").or_else(|| commit("main")).unwrap_or_else(|| head.clone());
    let mut status = process::command("git", root);
    let changed = process::capture(status.args(["status", "--porcelain", "--", "proto"]))
        .is_ok_and(|printed| !printed.trim().is_empty());
    if main != head || changed { Some(main) } else { commit("HEAD~1") }
}

fn has_contracts(root: &Path, base: &str) -> bool {
    let mut git = process::command("git", root);
    git.args(["ls-tree", "-r", "--name-only", base, "--", "buf.yaml", "proto"]);
    process::capture(&mut git).is_ok_and(|names| {
        let mut lines = names.lines();
        lines.clone().any(|name| name == "buf.yaml") && lines.any(|name| name.ends_with(".proto"))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::{base, has_contracts};

    fn git(root: &Path, arguments: &[&str]) {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(["-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .current_dir(root)
            .output()
            .expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        std::fs::write(path, text).expect("written");
        git(root, &["add", "--all"]);
        git(root, &["commit", "--quiet", "--message", "change"]);
    }

    #[test]
    fn the_base_is_the_main_branch_and_on_it_the_commit_before() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        git(root, &["init", "--quiet"]);
        assert_eq!(base(root), None, "no commit yet");

        commit(root, "README.md", "one");
        assert_eq!(base(root), None, "the first commit has none before it");

        commit(root, "proto/a.proto", "syntax = \"proto3\";");
        let first = base(root).expect("the commit before");
        assert!(!has_contracts(root, &first));

        std::fs::write(root.join("proto/a.proto"), "changed").expect("written");
        let main = base(root).expect("main itself");
        assert_ne!(main, first);
        assert!(!has_contracts(root, &main), "no buf.yaml");

        commit(root, "buf.yaml", "version: v2");
        git(root, &["checkout", "--quiet", "-b", "topic"]);
        commit(root, "README.md", "two");
        let from_topic = base(root).expect("main");
        assert!(has_contracts(root, &from_topic));
    }
}
