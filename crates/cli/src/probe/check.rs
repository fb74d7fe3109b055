//! Whether a report that was read can be one of this command's. It may have been cut or changed
//! by hand, and what contradicts itself must not be shown as a result. It mends nothing.

use anyhow::{Result, bail};
use policy::Level;

use super::model::{Cell, Kind, Outcome, Report, Side, cells};

/// Checks what the types do not.
///
/// # Errors
/// What is twice there, unknown, or cannot be; and where.
pub(crate) fn check(report: &Report) -> Result<()> {
    if Level::from_name(&report.policy).is_none() {
        bail!(
            "the policy '{}' is none of {}",
            report.policy,
            Level::ALL.map(Level::name).join(", ")
        );
    }
    if let Some(name) = twice(report.risks.iter().map(|risk| risk.memory.name())) {
        bail!("the risk of {name} memory is there twice");
    }
    if let Some(name) = twice(report.rows.iter().map(|row| row.memory.name())) {
        bail!("the row of {name} memory is there twice");
    }
    for row in &report.rows {
        for (run, side) in [("stock", &row.stock), ("interposed", &row.interposed)] {
            if let Err(why) = check_side(report.kind, side) {
                bail!("{} memory, {run}: {why}", row.memory.name());
            }
        }
    }
    Ok(())
}

fn check_side(kind: Kind, side: &Side) -> Result<()> {
    if let Some(name) = twice(side.cells.iter().map(|cell| cell.name.as_str())) {
        bail!("the cell '{name}' is there twice");
    }
    for cell in &side.cells {
        if !cells(kind).contains(&cell.name.as_str()) {
            bail!("`rdnafix {}` has no cell '{}'", kind.name(), cell.name);
        }
        if let Err(why) = check_cell(kind, cell) {
            bail!("the cell '{}': {why}", cell.name);
        }
    }
    Ok(())
}

fn check_cell(kind: Kind, cell: &Cell) -> Result<()> {
    match (&cell.outcome, kind) {
        (Outcome::Compared { elements, wrong, wrong_returning }, Kind::Probe) => {
            let most = wrong.max(wrong_returning);
            if most > elements {
                bail!("{most} elements are wrong, of {elements}");
            }
        }
        (Outcome::Bandwidth { gb_per_s, runs }, Kind::Bench) => {
            let is_none = |value: &&f64| !value.is_finite() || **value < 0.0;
            if let Some(value) = runs.iter().chain([gb_per_s]).find(is_none) {
                bail!("{value} GB/s is no bandwidth");
            }
        }
        (Outcome::Compared { .. }, Kind::Bench) => bail!("a bandwidth is not compared"),
        (Outcome::Bandwidth { .. }, Kind::Probe) => bail!("an atomic has no bandwidth"),
        _ => {}
    }
    Ok(())
}

/// The first name that was there before.
fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Some(name);
        }
        seen.push(name);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_is_a_finite_number_from_zero_on() {
        let of = |gb_per_s: f64, run: f64| {
            let outcome = Outcome::Bandwidth { gb_per_s, runs: vec![1.0, run] };
            check_cell(Kind::Bench, &Cell { name: "streaming".to_owned(), outcome }).is_ok()
        };
        assert!(of(0.0, 0.0) && of(1e-9, 1e9));
        for bad in [f64::NAN, f64::INFINITY, -0.1] {
            assert!(!of(bad, 1.0) && !of(1.0, bad), "{bad}");
        }
    }

    #[test]
    fn the_first_name_that_is_there_again_is_named() {
        assert_eq!(twice(["a", "b", "c", "b", "a"].into_iter()), Some("b"));
        assert_eq!(twice(["a", "b"].into_iter()), None);
    }
}
