//! Compares a module that was built with the stock one: whether the kernel that loads one also
//! loads the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

/// What a kernel compares before it loads a module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// `vermagic` of .modinfo.
    pub(super) vermagic: String,
    /// The CRC of each symbol of the kernel that it uses; empty without CONFIG_MODVERSIONS.
    pub(super) crcs: BTreeMap<String, u32>,
}

/// `struct modversion_info`: a CRC in an unsigned long and a name, 64 bytes together.
const VERSION_INFO: usize = 64;

/// Reads a module, which may be compressed.
///
/// # Errors
/// Where it is none, or the program that decompresses it fails.
pub(super) fn needs(module: &Path) -> Result<Needs> {
    let data = content(module)?;
    let file = object::File::parse(&*data)
        .with_context(|| format!("{} is no module", module.display()))?;
    let section = |name: &str| -> Result<Vec<u8>> {
        let Some(section) = file.section_by_name(name) else { return Ok(Vec::new()) };
        Ok(section.data().with_context(|| format!("{}: {name}", module.display()))?.to_vec())
    };
    let info = section(".modinfo")?;
    let vermagic = info
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(b"vermagic="))
        .with_context(|| format!("{} has no vermagic", module.display()))?;
    let crcs = section("__versions")?
        .chunks_exact(VERSION_INFO)
        .filter_map(|entry| {
            let (crc, name) = entry.split_at(8);
            let name = name.split(|byte| *byte == 0).next()?;
            let crc = u32::from_le_bytes(crc.get(..4)?.try_into().ok()?);
            Some((String::from_utf8_lossy(name).into_owned(), crc))
        })
        .collect();
    Ok(Needs { vermagic: String::from_utf8_lossy(vermagic).trim().to_owned(), crcs })
}

fn content(module: &Path) -> Result<Vec<u8>> {
    let program = match module.extension().and_then(|kind| kind.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => {
            return fs::read(module).with_context(|| format!("cannot read {}", module.display()));
        }
    };
    let output = Command::new(program).args(["--decompress", "--stdout"]).arg(module).output();
    let output = output.with_context(|| format!("{program} does not start"))?;
    if !output.status.success() {
        bail!("{program} cannot decompress {}", module.display());
    }
    Ok(output.stdout)
}

/// That a built module asks for the kernel that the stock one asks for, symbol by symbol. Gives
/// how many symbols they were.
///
/// # Errors
/// What differs.
pub(super) fn same(built: &Needs, stock: &Needs) -> Result<usize> {
    if built.vermagic != stock.vermagic {
        bail!("it is for '{}', and the stock module for '{}'", built.vermagic, stock.vermagic);
    }
    let mut differ = Vec::new();
    for (symbol, crc) in &built.crcs {
        match stock.crcs.get(symbol) {
            Some(other) if other == crc => {}
            Some(other) => differ.push(format!("{symbol} is {crc:#010x} and not {other:#010x}")),
            None => differ.push(format!("{symbol} is not used by the stock module")),
        }
    }
    let missing = stock.crcs.keys().filter(|symbol| !built.crcs.contains_key(*symbol));
    differ.extend(missing.map(|symbol| format!("{symbol} is used by the stock module only")));
    if !differ.is_empty() {
        let more = differ.len().saturating_sub(10);
        differ.truncate(10);
        if more > 0 {
            differ.push(format!("and {more} more"));
        }
        bail!(
            "the symbols of the kernel that it uses are not those of the stock module: the source \
             or the headers are of another build of this kernel:\n  {}",
            differ.join("\n  ")
        );
    }
    Ok(built.crcs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(symbols: &[(&str, u32)]) -> Needs {
        let crcs = symbols.iter().map(|(name, crc)| ((*name).to_owned(), *crc)).collect();
        Needs { vermagic: "6.1.0-1-amd64 SMP".to_owned(), crcs }
    }

    #[test]
    fn a_module_with_another_crc_or_another_symbol_is_refused() {
        let stock = made_of(&[("kfree", 1), ("printk", 2)]);
        assert_eq!(same(&made_of(&[("kfree", 1), ("printk", 2)]), &stock).unwrap(), 2);
        for (built, said) in [
            (made_of(&[("kfree", 3), ("printk", 2)]), "kfree is 0x00000003 and not 0x00000001"),
            (made_of(&[("kfree", 1)]), "printk is used by the stock module only"),
            (
                made_of(&[("kfree", 1), ("printk", 2), ("vmap", 4)]),
                "vmap is not used by the stock module",
            ),
        ] {
            let error = same(&built, &stock).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let other = Needs { vermagic: "6.1.0-2-amd64 SMP".to_owned(), ..made_of(&[]) };
        assert!(same(&other, &stock).unwrap_err().to_string().contains("6.1.0-2-amd64"));
    }
}
