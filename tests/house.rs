//! Claim: the rooms of `src` depend on one another as ARCHITECTURE.md's tree says, in no circle, and only the executor knows
//! wgpu. Needs no GPU.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room, and those that it may use. What stands earlier never uses what stands later.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("json", &[]),
    ("arithmetic", &[]),
    ("rule", &["arithmetic", "error"]),
    ("schedule", &["rule", "error", "json"]),
    ("wrappers", &["rule", "error"]),
    ("rules", &["rule", "wrappers", "error", "json"]),
    ("program", &["arithmetic", "rule", "wrappers", "error"]),
    ("state", &["rule", "wrappers", "program", "error", "json"]),
    ("description", &["rule", "rules", "program", "state", "error", "json"]),
    ("export", &["program", "state", "error"]),
    ("reference", &["arithmetic", "rule", "wrappers", "program", "error"]),
    ("device", &["rule", "wrappers", "program", "state", "error"]),
    ("validate", &["arithmetic", "rule", "rules", "wrappers", "program", "reference", "device", "error"]),
];

/// What stands at the crate's root and says in which room it lives.
const AT_THE_ROOT: &[(&str, &str)] = &[("AnyRule", "rule"), ("equation", "rule"), ("numbers", "rule")];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The code of a file, without its tests and comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.lines().take_while(|line| *line != "mod tests {");
    let mut skipped = false;
    let mut kept = vec![];
    for line in code {
        // A function that only tests have begins behind this attribute, and ends with its brace.
        if line == "#[cfg(test)]" {
            skipped = true;
        }
        if !skipped && !line.trim_start().starts_with("//") {
            kept.push(line);
        }
        if skipped && line == "}" {
            skipped = false;
        }
    }
    kept.join("\n")
}

#[test]
fn rooms_use_what_stands_before_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = vec![];
    files(&source, &mut all);
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for path in all {
        let inside = path.strip_prefix(&source).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.strip_suffix(".rs").unwrap_or(first);
        if room == "lib" {
            continue;
        }
        seen.insert(room.to_string());
        let allowed = rooms.get(room).unwrap_or_else(|| panic!("{room} is no room of the house"));
        let text = code(&path);
        for part in text.split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let other =
                AT_THE_ROOT.iter().find(|(item, _)| *item == name).map_or(name.as_str(), |(_, room)| room);
            let known = rooms.contains_key(other);
            assert!(!known || other == room || allowed.contains(&other), "{} uses {other}", inside.display());
            assert!(known, "{} uses crate::{name}: of which room?", inside.display());
        }
        let wgpu = text.contains("wgpu::") || text.contains("use wgpu");
        assert!(!wgpu || ["device", "validate"].contains(&room), "{} knows wgpu", inside.display());
    }
    assert_eq!(seen.len(), ROOMS.len(), "{seen:?}");
    // In this order there is no circle.
    for (i, (room, uses)) in ROOMS.iter().enumerate() {
        for other in *uses {
            assert!(ROOMS[..i].iter().any(|(earlier, _)| earlier == other), "{room} uses {other}");
        }
    }
}

/// The executor knows no rule, no wrapper and no kind of pass by its name.
#[test]
fn the_executor_knows_no_rule() {
    let mut all = vec![];
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/device"), &mut all);
    assert!(all.len() > 5);
    let names = wgpu_optim::rules::names();
    let wrappers = ["max_grad_norm", "lookahead", "cautious", "ema", "non_finite", "zero_grad"];
    let passes = ["apply", "combine", "reduce", "factored"];
    for path in all {
        let text = code(&path);
        for name in names.iter().copied().chain(wrappers).chain(passes) {
            let quoted = format!("\"{name}\"");
            assert!(
                !text.contains(&quoted) && !text.contains(&format!(".{name}")),
                "{}: {name}",
                path.display()
            );
        }
    }
}
