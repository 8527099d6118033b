//! Golden files: what is printed, kept beside the tests. `UPDATE=1` writes them anew, for a person to look at.

use std::path::Path;

/// Asserts that `is` is what the golden file `name` holds, a path from this folder.
pub fn compare(name: &str, is: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/observability").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, is).expect("the source tree is writable");
    }
    let should = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (is, should)) in is.lines().zip(should.lines()).enumerate() {
        assert_eq!(is, should, "line {} of {name}; UPDATE=1 accepts what is printed now", number + 1);
    }
    assert_eq!(is.len(), should.len(), "{name} goes on differently; UPDATE=1 accepts what is printed now");
}
