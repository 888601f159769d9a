//! `cargo xtask lines`: how much Rust lies where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use crate::Answer;
use crate::args::Args;

/// A file longer than this wants to be two.
const LONG: usize = 600;

pub fn lines(args: Args) -> Answer {
    args.none()?;
    let mut files = Vec::new();
    collect(Path::new(""), &mut files).map_err(|error| error.to_string())?;
    files.sort();
    let mut folders: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut long = String::new();
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
        // Blank lines count as neither; code with a comment behind it is code.
        let full = text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.is_empty());
        let (comments, code): (Vec<_>, Vec<_>) = full.partition(|line| line.starts_with("//"));
        let folder = file.parent().unwrap_or(&file).display().to_string();
        for row in [folder, "total".into()] {
            let sums = folders.entry(row).or_default();
            *sums = [sums[0] + 1, sums[1] + code.len(), sums[2] + comments.len()];
        }
        let length = text.lines().count();
        if length > LONG {
            long += &format!("{name}: {length} lines, more than {LONG}\n");
        }
    }
    let total = folders.remove_entry("total");
    println!(
        "{:<24} {:>6} {:>7} {:>9}",
        "folder", "files", "code", "comments"
    );
    for (folder, [files, code, comments]) in folders.into_iter().chain(total) {
        println!("{folder:<24} {files:>6} {code:>7} {comments:>9}");
    }
    print!("{long}");
    Ok(ExitCode::SUCCESS)
}

/// The Rust files below `folder`, without what builds leave.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(Path::new(".").join(folder))? {
        let name = entry?.file_name();
        let path = folder.join(&name);
        let name = name.to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, files)?;
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}
