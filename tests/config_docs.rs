//! Every TOML block in the README and in `docs/` is a configuration that this version takes.
//!
//! A block opened by ```` ```toml ```` stands alone; one opened by ```` ```toml fragment ```` is laid over
//! `tests/samples/accepted/minimal.toml`; one opened by ```` ```toml worker ```` is the configuration of `rederive hsm-worker`.

use std::path::{Path, PathBuf};

use rederive::config::{Config, WorkerFile};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Whole,
    Fragment,
    Worker,
}

const OPENINGS: [(&str, Kind); 3] =
    [("```toml", Kind::Whole), ("```toml fragment", Kind::Fragment), ("```toml worker", Kind::Worker)];

struct Block {
    place: String,
    kind: Kind,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).into_iter().flatten();
    let mut pages: Vec<_> = docs
        .map(|entry| entry.expect("readable").path())
        .chain([root().join("README.md")])
        .filter(|path| path.extension().is_some_and(|extension| extension == "md") && path.exists())
        .collect();
    pages.sort();
    pages
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim_end()) {
            (Some(_), "```") => found.extend(open.take()),
            (Some(block), line) => block.text.extend([line, "\n"]),
            (None, line) => {
                let place = format!("{page}:{}", number + 1);
                let kind = OPENINGS.into_iter().find(|(opening, _)| *opening == line).map(|(_, kind)| kind);
                assert!(kind.is_some() || !line.starts_with("```toml"), "{place}: an unknown kind of block");
                open = kind.map(|kind| Block { place, kind, text: String::new() });
            }
        }
    }
    assert!(open.is_none(), "{page}: a block that does not end");
    found
}

fn parse(block: &Block) -> Result<(), String> {
    let parsed = match block.kind {
        Kind::Whole => Config::parse(&block.text, []).map(drop),
        Kind::Fragment => Config::parse(&laid_over_minimal(&block.text)?, []).map(drop),
        Kind::Worker => WorkerFile::parse(&block.text).map(drop),
    };
    parsed.map_err(|error| error.to_string())
}

fn laid_over_minimal(fragment: &str) -> Result<String, String> {
    let minimal = std::fs::read_to_string(root().join("tests/samples/accepted/minimal.toml")).expect("readable");
    let mut table: toml::Table = minimal.parse().expect("TOML");
    table.extend(fragment.parse::<toml::Table>().map_err(|error| error.to_string())?);
    Ok(table.to_string())
}

#[test]
fn every_block_in_the_docs_is_accepted() {
    for page in pages() {
        let name = page.strip_prefix(root()).expect("inside").display().to_string();
        let text = std::fs::read_to_string(&page).expect("readable");
        let blocks = blocks(&name, &text);
        assert!(!name.ends_with("operations.md") || !blocks.is_empty(), "{name} shows no configuration");
        for block in blocks {
            parse(&block).unwrap_or_else(|error| panic!("{}: {error}", block.place));
        }
    }
}

/// The same search and the same parser refuse a block with a key that does not exist.
#[test]
fn a_doctored_block_is_refused() {
    let minimal = std::fs::read_to_string(root().join("tests/samples/accepted/minimal.toml")).expect("readable");
    let good = format!("Text.\n\n```toml\n{minimal}```\n\n```toml fragment\n[log]\nlevel = \"warn\"\n```\n");
    let found = blocks("good.md", &good);
    assert_eq!(found.iter().map(|block| block.kind).collect::<Vec<_>>(), [Kind::Whole, Kind::Fragment]);
    assert_eq!(found[0].place, "good.md:3");
    assert!(found.iter().all(|block| parse(block).is_ok()));

    let doctored = good.replace("state_dir", "state_directory").replace("level", "loudness");
    let errors: Vec<_> = blocks("bad.md", &doctored).iter().map(|block| parse(block).expect_err("doctored")).collect();
    assert!(errors[0].contains("unknown field `state_directory`"), "{}", errors[0]);
    assert!(errors[1].contains("unknown field `loudness`"), "{}", errors[1]);
}
