//! Any text is read as a config or told what is wrong with it, in words and with places inside it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vtepd::config::Config;

fuzz_target!(|text: &str| match Config::parse("fuzz.toml", text) {
    Ok(loaded) => assert_eq!(loaded.warnings.errors(), 0),
    Err(mistakes) => {
        assert!(mistakes.errors() > 0, "refused without a word");
        assert!(!mistakes.render(false).is_empty());
        for found in mistakes.as_slice() {
            assert!(!found.remedy.is_empty());
            let places = found.span.into_iter().chain(found.related.iter().map(|(span, _)| *span));
            for place in places {
                assert!(text.get(place.start as usize..place.end as usize).is_some(), "not a place in the file");
            }
        }
    }
});
