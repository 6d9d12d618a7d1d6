//! What cargo knows of this workspace: its root, its target directory and its crates.

use std::path::PathBuf;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::failure::{Context, Outcome};

/// The workspace that the current directory belongs to.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Where cargo builds, wherever the environment or a config file moved it.
    pub(crate) target: PathBuf,
    pub(crate) crates: Vec<Crate>,
}

/// A crate of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    /// Relative to the root, such as `services/edge`.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A direct dependency of a crate, by the name in the registry or the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only for the crate's tests.
    pub(crate) dev: bool,
}

impl Workspace {
    /// Asks `cargo metadata`, without the network.
    ///
    /// # Errors
    /// If the current directory is in no workspace, or a manifest of it cannot be read.
    pub(crate) fn load() -> Outcome<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .cannot(|| "read the workspace with `cargo metadata`".into())?;
        let crates = metadata.packages.iter().map(|package| Crate::of(package, &metadata));
        Ok(Self {
            crates: crates.collect(),
            root: metadata.workspace_root.as_std_path().to_owned(),
            target: metadata.target_directory.as_std_path().to_owned(),
        })
    }

    /// Where the tasks keep what they install; git ignores it.
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join(".cache")
    }
}

impl Crate {
    fn of(package: &Package, metadata: &Metadata) -> Self {
        let folder = package.manifest_path.parent().map_or_else(String::new, |folder| {
            folder.strip_prefix(&metadata.workspace_root).unwrap_or(folder).to_string()
        });
        let dependencies = package.dependencies.iter().map(|dependency| Dependency {
            name: dependency.name.clone(),
            dev: dependency.kind == DependencyKind::Development,
        });
        Self { name: package.name.to_string(), folder, dependencies: dependencies.collect() }
    }
}
