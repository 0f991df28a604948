//! Builds the recorded runs in, as an array of their names and bytes: a page reads no files.

use std::fmt::Write;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = std::env::var("CARGO_MANIFEST_DIR").map_err(std::io::Error::other)?;
    let folder = Path::new(&root).join("../tests/golden");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    let mut text = String::from("[\n");
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let _ = writeln!(text, "    ({name:?}.to_string(), include_bytes!({path:?}).to_vec()),");
    }
    text += "].into()\n";
    let out = std::env::var("OUT_DIR").map_err(std::io::Error::other)?;
    std::fs::write(Path::new(&out).join("recordings.rs"), text)
}
