//! Claim: the header is the one that cbindgen makes of the sources, and C and C++ compilers read it without a warning.

use std::path::{Path, PathBuf};
use std::process::Command;

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/wgpu_optim.h")
}

#[test]
fn is_what_the_sources_say() {
    let mut made = vec![];
    cbindgen::generate(env!("CARGO_MANIFEST_DIR")).unwrap().write(&mut made);
    let kept = std::fs::read_to_string(header()).unwrap();
    let command = "cargo run -p wgpu-optim-capi --example header";
    assert!(String::from_utf8(made).unwrap() == kept, "the header is not of these sources: {command}");
}

#[test]
fn every_function_says_what_it_does() {
    let header = std::fs::read_to_string(header()).unwrap();
    let lines: Vec<&str> = header.lines().collect();
    let mut functions = 0;
    for (number, line) in lines.iter().enumerate() {
        if line.contains(" wgpu_optim_") || line.contains("*wgpu_optim_") {
            if line.starts_with("//") || !line.contains('(') {
                continue;
            }
            functions += 1;
            assert!(lines[number - 1].starts_with("//"), "undocumented: {line}");
        }
    }
    assert!(functions > 20, "{functions} functions");
}

#[test]
fn compilers_read_it() {
    for (compiler, language) in [("cc", "c"), ("c++", "c++")] {
        let mut command = Command::new(compiler);
        command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-x", language]);
        match command.arg(header()).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success() || said.contains("#pragma once in main file"), "{said}");
            }
            Err(_) => println!("passed over: no {compiler}"),
        }
    }
}
