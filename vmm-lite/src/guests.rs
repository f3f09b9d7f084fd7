//! The built-in guests: small kernels in C and assembly from `guests/`, compiled by the build script and embedded.
//!
//! Each one shows one thing that a hypervisor sees, checks its own results, and reports what it counted itself
//! through the counter port, so that a trace can be compared with it. `guests/README.md` has the ABI and says how to
//! write another.

/// A guest that comes with vmscope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guest {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What to look at in its trace, in one line.
    pub demonstrates: &'static str,
    /// The words that it takes on its command line.
    pub options: &'static [GuestOption],
    /// The image: ELF64 with symbols and line information, or flat 16-bit code.
    pub image: &'static [u8],
    /// How many vCPUs show it best.
    pub default_vcpus: u8,
}

/// A `key=value` word of a guest's command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestOption {
    /// The key.
    pub key: &'static str,
    /// The value if the word is not given.
    pub default: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// Every built-in guest, simplest first.
pub fn all() -> &'static [Guest] {
    GUESTS
}

/// The built-in guest of that name.
pub fn find(name: &str) -> Option<&'static Guest> {
    GUESTS.iter().find(|guest| guest.name == name)
}

macro_rules! image {
    ($file:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/guests/", $file))
    };
}

const GUESTS: &[Guest] = &[
    Guest {
        name: "hello",
        about: "prints on both consoles and ends",
        demonstrates: "port exits, the debug console, a marker",
        options: &[],
        image: image!("hello.elf"),
        default_vcpus: 1,
    },
    Guest {
        name: "real-mode",
        about: "16-bit code that prints on both consoles and ends",
        demonstrates: "a flat image, a vCPU without paging or protection",
        options: &[],
        image: image!("real-mode.bin"),
        default_vcpus: 1,
    },
    Guest {
        name: "trap-forwarding",
        about: "a ring-3 process that traps in every way, and the kernel that deals with it",
        demonstrates: "system calls, #DE, #UD, #GP and page faults on their way through the guest's own handlers",
        options: &[
            GuestOption { key: "calls", default: "100", about: "system calls" },
            GuestOption { key: "rounds", default: "5", about: "times through all other traps" },
        ],
        image: image!("trap-forwarding.elf"),
        default_vcpus: 1,
    },
    Guest {
        name: "demand-paging",
        about: "a ring-3 process whose memory appears as it touches it",
        demonstrates: "first touches, copy-on-write, a 2 MiB page split in 512, accessed and dirty bits",
        options: &[GuestOption { key: "pages", default: "64", about: "pages of its heap" }],
        image: image!("demand-paging.elf"),
        default_vcpus: 1,
    },
    Guest {
        name: "tlb-shootdown",
        about: "vCPUs that share an address space take pages away from each other",
        demonstrates: "IPIs by shorthand and one by one, acknowledgements, faults in between, HLT and wake-up",
        options: &[
            GuestOption { key: "rounds", default: "50", about: "pages taken away" },
            GuestOption { key: "busy", default: "1", about: "vCPUs that read until they are interrupted" },
            GuestOption { key: "apic", default: "x2apic", about: "x2apic where it is offered, or xapic" },
        ],
        image: image!("tlb-shootdown.elf"),
        default_vcpus: 4,
    },
    Guest {
        name: "exit-storm",
        about: "port and MMIO accesses in a tight loop",
        demonstrates: "what an exit costs, and what recording it costs",
        options: &[
            GuestOption { key: "count", default: "100000", about: "accesses" },
            GuestOption { key: "mix", default: "all", about: "all, port, mmio-write or mmio-read" },
        ],
        image: image!("exit-storm.elf"),
        default_vcpus: 1,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for guest in all() {
            assert_eq!(all().iter().filter(|other| other.name == guest.name).count(), 1, "{}", guest.name);
            assert_eq!(find(guest.name), Some(guest));
        }
        assert_eq!(find("no such guest"), None);
    }

    #[test]
    fn images_are_elf_with_line_information_or_flat_and_small() {
        for guest in all() {
            if guest.image.starts_with(b"\x7fELF") {
                assert_eq!(guest.image[4], 2, "{}: 64-bit", guest.name);
                let section = |name: &[u8]| guest.image.windows(name.len()).any(|window| window == name);
                assert!(section(b".debug_line\0") && section(b".debug_frame\0"), "{}", guest.name);
            } else {
                assert!(!guest.image.is_empty() && guest.image.len() < 0x8000, "{}", guest.name);
            }
        }
    }

    #[test]
    fn images_do_not_depend_on_where_they_were_built() {
        let here = env!("CARGO_MANIFEST_DIR").as_bytes();
        for guest in all() {
            assert!(!guest.image.windows(here.len()).any(|window| window == here), "{}", guest.name);
        }
    }
}
