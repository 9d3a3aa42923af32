//! Settings that are fixed at first start, because ids out in the world depend on them.

use rederive_hsm::access_key_id::{Layout, Lifetime, Prefix, Prefixes};

use super::transaction::transact;
use super::{Connection, Registry, RegistryError, Result, Trouble, TroubleKind, query};

const LAYOUT: &str = "layout";
const LONG_TERM: &str = "long_term_prefixes";
const TEMPORARY: &str = "temporary_prefixes";

/// What ids look like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The layout of new ids. Every layout always parses.
    pub layout: Layout,
    /// The prefixes of new ids come first, then all that were used before.
    pub prefixes: Prefixes,
}

impl Registry {
    /// The settings as they were last settled; `None` before the first start.
    pub async fn settings(&self) -> Result<Option<Settings>> {
        read(&mut self.readers.acquire().await?).await
    }

    /// Settles the wanted settings against those of earlier starts and returns what holds.
    ///
    /// The layout must be that of the first start. Prefixes may be new: they join the list, and those of earlier
    /// starts keep verifying. A prefix never changes between long-term and temporary.
    pub async fn settle(&self, wanted: &Settings) -> Result<Settings> {
        transact!(self, |transaction| settle(transaction, wanted))
    }
}

async fn settle(transaction: &mut Connection, wanted: &Settings) -> Result<Settings> {
    let settled = match read(transaction).await? {
        None => wanted.clone(),
        Some(fixed) => merge(wanted, &fixed)?,
    };
    store(transaction, LAYOUT, layout_name(settled.layout)).await?;
    store(transaction, LONG_TERM, &list(&settled.prefixes, Lifetime::LongTerm)).await?;
    store(transaction, TEMPORARY, &list(&settled.prefixes, Lifetime::Temporary)).await?;
    Ok(settled)
}

fn merge(wanted: &Settings, fixed: &Settings) -> Result<Settings> {
    if wanted.layout != fixed.layout {
        let (wanted, fixed) = (layout_name(wanted.layout), layout_name(fixed.layout));
        let text = format!("the layout of ids was fixed as \"{fixed}\" at first start and can't become \"{wanted}\"");
        return Err(RegistryError::SettingFixed(text));
    }
    let joined = |lifetime| {
        let mut all = wanted.prefixes.all(lifetime).to_vec();
        all.extend(
            fixed.prefixes.all(lifetime).iter().filter(|prefix| !wanted.prefixes.all(lifetime).contains(prefix)),
        );
        all
    };
    let prefixes = Prefixes::new(joined(Lifetime::LongTerm), joined(Lifetime::Temporary)).ok_or_else(|| {
        let text = "a prefix stood for long-term keys and is wanted for temporary ones, or the other way round";
        RegistryError::SettingFixed(text.into())
    })?;
    Ok(Settings { layout: fixed.layout, prefixes })
}

async fn read(connection: &mut Connection) -> Result<Option<Settings>> {
    let Some(layout) = value(connection, LAYOUT).await? else { return Ok(None) };
    let long_term = value(connection, LONG_TERM).await?.unwrap_or_default();
    let temporary = value(connection, TEMPORARY).await?.unwrap_or_default();
    let settings = parse_layout(&layout).zip(parse_list(&long_term).zip(parse_list(&temporary)));
    let settings = settings.and_then(|(layout, (long_term, temporary))| {
        Some(Settings { layout, prefixes: Prefixes::new(long_term, temporary)? })
    });
    let malformed = || Trouble::new(TroubleKind::BadRow, "settings: layout or prefixes don't read");
    Ok(Some(settings.ok_or_else(malformed)?))
}

/// A setting's text.
pub(super) async fn value(connection: &mut Connection, name: &str) -> Result<Option<String>> {
    let row = query("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Sets it.
pub(super) async fn store(transaction: &mut Connection, name: &str, value: &str) -> Result<()> {
    query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value)
        .execute(transaction)
        .await?;
    Ok(())
}

fn layout_name(layout: Layout) -> &'static str {
    match layout {
        Layout::Account => "account",
        Layout::Opaque => "opaque",
    }
}

fn parse_layout(text: &str) -> Option<Layout> {
    [Layout::Account, Layout::Opaque].into_iter().find(|&layout| layout_name(layout) == text)
}

fn list(prefixes: &Prefixes, lifetime: Lifetime) -> String {
    prefixes.all(lifetime).iter().map(Prefix::as_str).collect::<Vec<_>>().join(",")
}

fn parse_list(text: &str) -> Option<Vec<Prefix>> {
    text.split(',').map(Prefix::parse).collect()
}
