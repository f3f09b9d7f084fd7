//! The real GDB on running guests, through `vmscope record --gdb`.
//!
//! Like the live tests it is one program that also runs on SVM and VMX in software: nothing here depends on how fast a
//! host is, only that it gets on at all.
//!
//! Others' GDB stubs break in twelve known ways. What shows that this one does not, each as far as a debugger can see it
//! (`breakages` holds this table to the sources):
//!
//! | breakage | tests |
//! |---|---|
//! | 1. `KVM_EXIT_DEBUG` is not classified: the guest's own `INT3` and debug registers do not reach it | `gdb::points::core_a_guests_own_breakpoints_reach_it`, `live::control::core_a_guest_that_debugs_itself_is_debugged`, `vmm_lite::probe::table::two_addresses_of_one_byte_share_its_breakpoint` |
//! | 2. whoever goes on from a breakpoint enters an interrupt handler for ever; steps land in one | `gdb::due::whoever_goes_on_from_a_breakpoint_gets_on_though_an_interrupt_is_due`, `gdb::due::core_a_step_does_not_land_in_a_handler_unless_asked` |
//! | 3. a step's TF leaks into what `PUSHF`, `SYSCALL` and handlers' frames save | `live::steps::core_a_steps_trap_flag_is_hidden_and_the_guests_own_is_kept`, `live::state::core_no_trap_flag_is_left_behind`, `vmm_lite::probe::trap_flag::a_handlers_frame_is_known_in_16_and_32_bit_code` |
//! | 4. `HLT`, port I/O and `MOV CR8` swallow a step's trap, the shadows of `STI` and `MOV SS` hide it | `live::steps::core_steps_over_exits`, `live::steps::core_steps_over_exits_with_split_irqchip`, `live::steps::core_steps_over_exits_with_irqchip_in_kvm`, `live::steps::core_a_steps_trap_flag_is_hidden_and_the_guests_own_is_kept`, `gdb::due::core_a_step_does_not_land_in_a_handler_unless_asked`, `live::control::core_steps_on_every_vcpu` |
//! | 5. what a port or MMIO read brings is missing at the stop | `gdb::points::core_what_was_read_from_a_device_is_there_at_the_stop`, `live::steps::core_steps_over_exits` |
//! | 6. debug state is set on the first vCPU only, lost at steps, or left behind | `gdb::points::hardware_breakpoints_on_every_vcpu`, `live::debugger::core_hardware_breakpoints`, `gdb::leaving::core_nothing_is_left_on_any_vcpu_after_detach` |
//! | 7. waiting burns a core | `gdb::attach::whoever_waits_for_gdb_or_for_the_guest_sleeps` |
//! | 8. breakpoints before paging is on, or in another address space | `live::debugger::core_a_breakpoint_waits_for_its_page`, `live::control::core_breakpoint_before_the_guest_has_handlers`, `live::debugger::core_a_breakpoint_of_another_address_space_stops_nobody`, `gdb::monitor::breakpoints_count_in_one_address_space`, `vmm_lite::probe::table::a_breakpoint_waits_for_its_page` |
//! | 9. `KVM_TRANSLATE` knows no levels and no permissions | `gdb::monitor::core_page_faults_stop_the_guest`, `live::control::addresses_are_walked_with_the_vcpus_own_tables`, `vmm_lite::walk::tests::by_hand::bytes_across_pages` |
//! | 10. the `g` packet changes with the CPU's mode | `gdb::modes::core_registers_are_the_same_in_every_mode_and_selectors_bring_their_base` |
//! | 11. a selector is written without its base | `gdb::modes::core_registers_are_the_same_in_every_mode_and_selectors_bring_their_base`, `live::state::core_a_selector_brings_its_segment_along`, `vmm_lite::vcpu::segments::in_real_and_virtual_8086_mode_the_base_is_the_selector` |
//! | 12. at a triple fault the registers are gone | `gdb::monitor::a_triple_fault_stops_as_an_event_before_the_end`, `live::debugger::a_triple_fault_can_be_looked_at_until_the_debugger_goes` |
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attach;
mod breakages;
mod client;
mod due;
mod hostile;
mod leaving;
mod linux;
mod listening;
mod modes;
mod monitor;
mod motion;
mod points;
mod soak;

use client::Vmscope;
use vmscope_tests::gdb;
use vmscope_tests::skip::kvm_or_skip;

/// Whether `test` can run here; prints a visible skip if not.
fn gdb_or_skip(test: &str) -> bool {
    gdb::or_skip(test) && kvm_or_skip(test)
}
