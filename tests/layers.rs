//! The layers of the library, held by reading every `crate::` path in `src/`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

/// Folder, and the folders that it may import from.
const LAYERS: [(&str, &[&str]); 7] = [
    ("protocol", &[]),
    ("link", &["protocol"]),
    ("daemon", &["protocol"]),
    ("agent", &["protocol", "link", "daemon"]),
    ("relay", &["protocol", "link", "daemon"]),
    ("platform", &["protocol", "link", "daemon"]),
    ("client", &["protocol", "link", "daemon"]),
];

/// Crates that a layer must not touch, because of what it promises not to know.
const FORBIDDEN: [(&str, &[&str]); 2] =
    [("protocol", &["tokio", "hyper", "async_nats", "std::net"]), ("relay", &["async_nats"])];

#[test]
fn every_import_goes_down_the_table() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let layer = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        if layer == "lib.rs" || layer == "bin" {
            continue;
        }
        let (_, allowed) = LAYERS
            .iter()
            .find(|(name, _)| *name == layer)
            .unwrap_or_else(|| panic!("src/{layer} is not in the table of layers"));
        seen.push(layer.to_owned());
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for imported in imports(code) {
                if imported != layer && !allowed.contains(&imported) {
                    wrong.push(format!(
                        "src/{}:{}: {layer} imports {imported}",
                        inside.display(),
                        number + 1
                    ));
                }
            }
            for (_, crates) in FORBIDDEN.iter().filter(|(name, _)| *name == layer) {
                for name in crates.iter().filter(|name| code.contains(&format!("{name}::"))) {
                    wrong.push(format!("src/{}:{}: {layer} uses {name}", inside.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
    for (layer, _) in LAYERS {
        assert!(seen.iter().any(|name| name == layer), "src/{layer} is in the table, but not there");
    }
}

/// The first path segment after each `crate::`, also inside `use crate::{a, b}`.
fn imports(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(['}', ',']).map(segment).filter(|name| !name.is_empty())),
            None => found.push(segment(rest)),
        }
    }
    found
}

fn segment(path: &str) -> &str {
    let path = path.trim();
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_reader_of_imports_reads_them() {
    assert_eq!(imports("use crate::agent::x;"), ["agent"]);
    assert_eq!(imports("use crate::{relay::y, link};"), ["relay", "link"]);
    assert_eq!(imports("let a = crate::protocol::end::End::ALL;"), ["protocol"]);
}
