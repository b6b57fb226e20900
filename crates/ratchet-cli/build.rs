//! Lays the reference workflows into the command, as far as git would keep their files.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use ignore::WalkBuilder;

fn main() -> Result<(), Box<dyn Error>> {
    let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workflows").canonicalize()?;
    println!("cargo::rerun-if-changed={}", workflows.display());
    let mut folders: Vec<PathBuf> =
        fs::read_dir(&workflows)?.map(|entry| Ok(entry?.path())).collect::<Result<_, Box<dyn Error>>>()?;
    folders.retain(|folder| folder.join("workflow.yaml").is_file());
    folders.sort();
    let mut text = String::from("&[\n");
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        writeln!(text, "    ReferenceWorkflow {{ name: {name:?}, files: &[")?;
        let files = WalkBuilder::new(&folder)
            .hidden(false)
            .require_git(false)
            .git_global(false)
            .git_exclude(false)
            .sort_by_file_name(Ord::cmp)
            .build();
        for file in files {
            let file = file?;
            if file.file_type().is_some_and(|kind| kind.is_file()) {
                let path = file.path().strip_prefix(&folder)?.to_string_lossy();
                let executable = file.metadata()?.permissions().mode() & 0o100 != 0;
                let content = file.path().to_string_lossy();
                writeln!(
                    text,
                    "        ShippedFile {{ path: {path:?}, executable: {executable}, content: include_bytes!({content:?}) }},"
                )?;
            }
        }
        text.push_str("    ] },\n");
    }
    text.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("reference_workflows.rs"), text)?;
    Ok(())
}
