//! What `doctor` finds on each host.

use vmscope_tests::program;
use vmscope_tests::skip::kvm_or_skip;

/// Which of the hosts in `tests/hosts` this is; this machine otherwise, whose KVM may be any.
fn host() -> &'static str {
    let is = |name| std::env::var_os(name).is_some();
    match (is("SVM_HOST"), is("VMX_HOST")) {
        (true, _) => "svm",
        (_, true) => "vmx",
        _ => "local",
    }
}

#[test]
fn core_doctor_says_what_the_host_can() {
    if !kvm_or_skip("core_doctor_says_what_the_host_can") {
        return;
    }
    let said = program::expect(0, &["doctor"]);
    let found = said.split_once("found by trying").map(|(_, found)| found).unwrap();
    if host() != "local" {
        insta::assert_snapshot!(format!("doctor-{}", host()), found.trim_end());
        return;
    }
    // A developer's own host may be any: two kinds are known here, others only have to say all lines.
    if found.contains("emulation error") {
        // What is lacking depends on what the CPU offers, but this is always offered.
        let (found, lacks) = found.trim_end().rsplit_once('\n').unwrap();
        assert!(lacks.contains("kernel code lacks") && lacks.contains("cmpxchg16b"), "{lacks}");
        insta::assert_snapshot!("doctor-emulating", found);
    } else {
        assert_eq!(found.trim_end().lines().count(), 12, "{found}");
    }
}
