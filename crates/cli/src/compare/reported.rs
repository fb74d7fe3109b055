//! From two reports of the interposer to rows: what a real GPU was asked for.

use std::collections::BTreeMap;

use super::model::{Kind, Reported, Row, Side};
use crate::report::{Action, Call, Report};

/// The rows of a run with the level off and one with another level: one per function, GPU
/// and request. A row is changed if anything was rewritten in it.
pub(crate) fn rows(stock: &[Report], interposed: &[Report]) -> Vec<Row> {
    let mut order = Vec::new();
    let mut sides: BTreeMap<String, [Vec<Call>; 2]> = BTreeMap::new();
    for (side, reports) in [stock, interposed].into_iter().enumerate() {
        for call in reports.iter().flat_map(|report| &report.calls) {
            let name = name(call);
            let calls = sides.entry(name.clone()).or_insert_with(|| {
                order.push(name);
                [Vec::new(), Vec::new()]
            });
            add(&mut calls[side], call);
        }
    }
    order
        .into_iter()
        .map(|name| {
            let [stock, interposed] = sides.remove(&name).unwrap_or_default();
            let changed = interposed
                .iter()
                .any(|call| call.action == Action::Rewritten && call.calls > call.fell_back);
            Row {
                call: name,
                kind: Kind::Call,
                changed,
                stock: side(stock),
                interposed: side(interposed),
                third: None,
                kernel: None,
            }
        })
        .collect()
}

fn name(call: &Call) -> String {
    let request = &call.request;
    let gpu = call.gpu.as_deref().unwrap_or("GPU not known");
    if request.is_empty() {
        format!("{} ({gpu})", call.api)
    } else {
        format!("{} {request} ({gpu})", call.api)
    }
}

/// Sums calls of several processes that differ in nothing else.
fn add(calls: &mut Vec<Call>, call: &Call) {
    let same =
        calls.iter_mut().find(|known| known.action == call.action && known.reason == call.reason);
    match same {
        Some(known) => {
            known.calls += call.calls;
            known.bytes += call.bytes;
            known.fell_back += call.fell_back;
        }
        None => calls.push(call.clone()),
    }
}

fn side(calls: Vec<Call>) -> Option<Side> {
    (!calls.is_empty()).then_some(Side::Reported(Reported { calls }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Layers;

    fn report(level: &str, calls: Vec<Call>) -> Report {
        Report {
            rdnafix: "0.1.0".to_owned(),
            pid: 1,
            program: "/bin/p".to_owned(),
            level: level.to_owned(),
            gpus: Vec::new(),
            calls,
            layers: Layers::default(),
            unseen: Vec::new(),
        }
    }

    fn call(request: &str, action: Action, reason: &str, fell_back: u64) -> Call {
        Call {
            api: "hipHostMalloc".to_owned(),
            gpu: Some("gfx1030".to_owned()),
            request: request.to_owned(),
            action,
            reason: reason.to_owned(),
            why: reason.to_owned(),
            calls: 2,
            bytes: 8192,
            fell_back,
        }
    }

    #[test]
    fn a_rewritten_call_is_a_change() {
        let off = |request| call(request, Action::Forwarded, "level-off", 0);
        let stock = report("off", vec![off("flags=0x0"), off("flags=0x2")]);
        let interposed = report(
            "standard",
            vec![
                call("flags=0x0", Action::Rewritten, "nobody-asked", 0),
                call("flags=0x2", Action::Forwarded, "mapped", 0),
            ],
        );
        let rows = rows(&[stock.clone(), stock], &[interposed]);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].call, "hipHostMalloc flags=0x0 (gfx1030)");
        assert_eq!((rows[0].changed, rows[1].changed), (true, false));
        let Some(Side::Reported(side)) = &rows[0].stock else {
            panic!("{rows:?}");
        };
        assert_eq!((side.calls.len(), side.calls[0].calls, side.calls[0].bytes), (1, 4, 16384));
    }

    #[test]
    fn what_fell_back_to_the_original_is_no_change() {
        let interposed = report("standard", vec![call("", Action::Rewritten, "nobody-asked", 2)]);
        let rows = rows(&[], &[interposed]);
        assert!(!rows[0].changed);
        assert_eq!((&rows[0].call[..], &rows[0].stock), ("hipHostMalloc (gfx1030)", &None));
    }
}
