//! Where nothing is to be changed, nothing is: the ioctls of a run with the library are those
//! of one without.

mod common;

use common::sequence::sequence;
use common::{Ran, Run, alloc_probe};

fn run(gpus: &str, interposed: bool, level: Option<&str>) -> Ran {
    let mut run = Run::new(alloc_probe());
    if interposed {
        run = run.interposed();
    }
    if let Some(level) = level {
        run = run.env("RDNAFIX_POLICY", level);
    }
    run.on(gpus).go().well()
}

fn assert_identical(gpus: &str, level: Option<&str>) {
    let (stock, interposed) =
        (sequence(&run(gpus, false, None)), sequence(&run(gpus, true, level)));
    assert!(stock.len() > 100, "{gpus}: {stock:?}");
    for (index, (expected, got)) in stock.iter().zip(&interposed).enumerate() {
        assert_eq!(got, expected, "{gpus}: ioctl {index} differs");
    }
    assert_eq!(stock.len(), interposed.len(), "{gpus}: as many ioctls");
}

#[test]
fn on_gfx906_the_ioctls_are_those_of_the_stock_run() {
    assert_identical("gfx906", None);
    assert_identical("gfx906", Some("full"));
}

#[test]
fn at_level_off_the_ioctls_are_those_of_the_stock_run() {
    assert_identical("gfx1030", Some("off"));
    assert_identical("gfx1010", Some("off"));
}

#[test]
fn on_gfx1030_the_ioctls_differ_only_where_memory_is_asked_for() {
    let (stock, interposed) =
        (sequence(&run("gfx1030", false, None)), sequence(&run("gfx1030", true, None)));
    assert_eq!(stock.len(), interposed.len());
    let changed: Vec<_> = stock.iter().zip(&interposed).filter(|(a, b)| a != b).collect();
    // Managed memory twice, once before its grain is chosen; hipHostMalloc(0), hipMemAllocHost,
    // and an SVM range of the program's own.
    assert_eq!(changed.len(), 5, "{changed:#?}");
    assert!(
        changed.iter().all(|(a, b)| a.contains(" coherent") && b.contains(" non-coherent")),
        "{changed:#?}"
    );
}
