//! Writes `capi/include/wgpu_optim.h` from the sources.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    cbindgen::generate(folder)?.write_to_file(folder.join("include/wgpu_optim.h"));
    Ok(())
}
