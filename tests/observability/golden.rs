//! Golden files: what is printed, kept beside the tests. `GOLDEN=write` writes them anew, for a person to look at.

use std::path::Path;

/// Asserts that `is` is what the golden file `name` holds.
pub fn compare(name: &str, is: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/observability").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, is).expect("the source tree is writable");
    }
    let should = std::fs::read_to_string(&path).expect("the golden file is there");
    for (number, (is, should)) in is.lines().zip(should.lines()).enumerate() {
        assert_eq!(is, should, "line {} of {name}; GOLDEN=write accepts what is printed now", number + 1);
    }
    assert_eq!(is.len(), should.len(), "{name} goes on differently; GOLDEN=write accepts what is printed now");
}
