//! The files of a system that is stopped, seen without the product's own code.

use std::path::Path;

use serde_json::Value;

use super::peers::python;
use super::program::Program;

/// Runs one statement on a database file; gives the rows.
pub(crate) async fn sql(file: &Path, statement: &str) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/database.py");
    let arguments = [script.as_os_str(), file.as_os_str(), statement.as_ref()];
    let program = Program::run(python(), arguments, &[]).await.ok();
    program.json().as_array().expect("rows").clone()
}
