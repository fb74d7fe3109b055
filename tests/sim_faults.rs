//! What ROCm makes of work that the simulated GPU cannot do: a message and an end, on every
//! release, and never an endless wait.

mod common;

use common::Run;
use common::release::releases;

#[test]
fn a_copy_to_memory_that_the_gpu_does_not_have_ends_the_program_with_a_message() {
    for release in releases() {
        let source = "tests/programs/sim_hsa_fault.c";
        let name = format!("sim_hsa_fault-{}", release.name);
        let program = release.compile(source, &name, &["-lhsa-runtime64"]);
        let ran = Run::new(program).on("gfx1030").inside(&release).go();
        let said = ran.stderr();
        assert!(!ran.output.status.success(), "ROCm {}: {said}", release.name);
        assert!(said.contains("Memory access fault by GPU"), "ROCm {}: {said}", release.name);
        assert!(said.contains("Page not present"), "ROCm {}: {said}", release.name);
        assert!(!ran.stdout().contains("the copy has ended"), "ROCm {}", release.name);
    }
}
