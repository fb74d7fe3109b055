//! The examples for many machines, as far as they can be tried without a cluster: the steps of the
//! container in a clean root, the schema of the pod, the batch script with stand-ins for Slurm.

mod cli_common;
mod packages_common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cli_common::{clean, output, release, root, text};
use packages_common::{package, roots};

fn example(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

/// The instructions of a Containerfile, as their words and the rest of the line.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (word, rest) = line.split_once(' ').expect("an instruction has a rest");
            assert!(!rest.ends_with('\\'), "the test reads one line for each instruction");
            (word.to_owned(), rest.to_owned())
        })
        .collect()
}

/// No container engine runs here: each instruction is followed by hand.
#[test]
fn the_steps_of_the_container_give_a_root_where_every_program_has_the_library() {
    let text = fs::read_to_string(example("Containerfile")).expect("it is readable");
    for root in roots() {
        let mut environment = Vec::new();
        for (word, rest) in instructions(&text) {
            match &word[..] {
                "ARG" | "FROM" => {}
                "COPY" => {
                    assert_eq!(rest, "rdnafix_*_amd64.deb /tmp/");
                    root.take(&package(".deb"));
                    root.says("mv /rdnafix_*_amd64.deb /tmp/");
                }
                "RUN" => {
                    root.says(&rest);
                }
                "ENV" => environment.push(rest),
                "CMD" => {
                    let words: Vec<String> = serde_json::from_str(&rest).expect("the list form");
                    let command = format!("{} {}", environment.join(" "), words.join(" "));
                    // There is no GPU, which is a finding.
                    let said = root.says(&format!("{command} 2>&1 || [ $? = 1 ]"));
                    assert!(said.contains("GPU") && !said.contains("ld.so"), "{said}");
                }
                other => panic!("{other}: the test does not know it"),
            }
        }
        let command = format!("{} sh -c 'grep -o librdnafix.so /proc/self/maps'", environment[0]);
        assert!(root.says(&command).contains("librdnafix.so"), "{}", root.suite);
    }
}

#[test]
fn the_pod_is_one_by_the_schema_of_kubernetes() {
    let tools = PathBuf::from(std::env::var_os("RDNAFIX_TEST_PACKAGING").expect("by the step"));
    let validate = |file: &PathBuf| {
        let mut command = clean(tools.join("bin/kubernetes-validate"));
        output(command.arg("--strict").arg(file)).status.success()
    };
    assert!(validate(&example("kubernetes.yaml")));
    // A schema that takes everything would show nothing.
    let broken = fs::read_to_string(example("kubernetes.yaml")).expect("it is readable");
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
    fs::write(&file, broken.replace("mountPath:", "mountpath:")).expect("written");
    assert!(!validate(&file.path().to_owned()));
}

/// Runs the batch script on two nodes by stand-ins for Slurm; what it wrote to both outputs.
fn batch(directory: &Path, doctor: &str) -> String {
    let stand_in = |name: &str, script: &str| {
        let file = directory.join(name);
        fs::write(&file, format!("#!/usr/bin/env bash\nset -eu\n{script}\n")).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("made executable");
    };
    // Two nodes, one after the other; torchrun says what it got.
    stand_in("srun", "for SLURMD_NODENAME in a b; do export SLURMD_NODENAME; \"$@\"; done");
    // As of many nodes: more than one write, and slower than a reader who wants one line only.
    stand_in("scontrol", "[ \"$*\" = 'show hostnames a,b' ] && echo a && sleep 0.2 && echo b");
    stand_in("torchrun", "echo \"$SLURMD_NODENAME: $LD_PRELOAD: $SRUN_CPUS_PER_TASK: $*\"");
    stand_in("rdnafix", doctor);
    let mut command = clean("bash");
    command
        .arg(example("slurm.sbatch"))
        .args(["train.py", "--epochs", "3"])
        .current_dir(directory)
        .env("PATH", format!("{}:{}", directory.display(), std::env::var("PATH").expect("PATH")))
        .env("RDNAFIX", release("librdnafix.so"))
        .envs([("SLURM_JOB_ID", "7"), ("SLURM_JOB_NODELIST", "a,b"), ("SLURM_NNODES", "2")])
        .envs([("SLURM_GPUS_ON_NODE", "1"), ("SLURM_CPUS_PER_TASK", "8")]);
    let output = output(&mut command);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let library = release("librdnafix.so").display().to_string();
    for node in ["a", "b"] {
        let line = format!(
            "{node}: {library}: 8: --nnodes=2 --nproc-per-node=1 --rdzv-id=7 --rdzv-backend=c10d \
             --rdzv-endpoint=a:29500 train.py --epochs 3\n"
        );
        assert!(said.contains(&line), "{said}");
    }
    said
}

#[test]
fn the_batch_script_compares_the_nodes_and_hands_the_library_down() {
    let directory = tempfile::tempdir().expect("a directory");
    let real = format!("exec {} \"$@\"", release("rdnafix").display());
    let said = batch(directory.path(), &real);
    assert!(said.contains("no node differs"), "{said}");
    for node in ["a", "b"] {
        assert!(directory.path().join(format!("nodes-7/{node}.json")).is_file());
    }
}

#[test]
fn the_batch_script_trains_where_the_nodes_cannot_be_compared() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = batch(directory.path(), "exit 2");
    assert!(said.contains("doctor failed on a node"), "{said}");
    assert!(said.contains("the nodes are not compared"), "{said}");
}
