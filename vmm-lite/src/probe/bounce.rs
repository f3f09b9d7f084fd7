//! Breakpoints that bounce: the guest's own handler for them is entered, and a breakpoint register on it tells.

use trace_format::event::Payload;

use super::carry_out::Executor;
use super::frame::Frame;
use super::site::{INT3, Site};
use super::{Context, Found, Probes, RFLAGS_IF, RFLAGS_RF, Verdict, read_code};
use crate::error::Result;
use crate::kvm::Shadow;
use crate::recorder::{RecordRegisters, registers_of};
use crate::walk::Paging;

impl Probes {
    /// The guest has entered its own handler for breakpoints, on which a breakpoint register sits.
    pub(super) fn bounced(&mut self, cx: &mut Context<'_>) -> Result<Verdict> {
        let taken_back = self.take_back(cx)?;
        if self.shared.registers == RecordRegisters::All && cx.lane.is_on() {
            let registers = registers_of(cx.vcpu);
            cx.lane.record_at(cx.time, Payload::Registers(registers));
        }
        match taken_back {
            Some((pc, Some(site))) => self.at_site(pc, &site, cx),
            Some((pc, None)) => Ok(Verdict::Probe { pc }),
            // The guest's own, already delivered: record it and go on behind the handler's first instruction.
            None => match self.bounce_site(cx) {
                Some(site) => self.at_site(cx.vcpu.rip(), &site, cx),
                None => Ok(Verdict::NotOurs),
            },
        }
    }

    /// Whether the vCPU stands where breakpoints bounce to.
    pub(crate) fn is_at_bounce_handler(&self, cx: &mut Context<'_>) -> bool {
        self.bounce_handler() == Some(cx.vcpu.rip())
    }

    /// Where breakpoints bounce, a vCPU may leave the guest between the breakpoint and the register on the guest's
    /// handler. It has then not got there yet: nobody must see it in the handler, or step it on from there. True if it
    /// has been taken back.
    pub(crate) fn undo_bounce(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if !self.is_at_bounce_handler(cx) {
            return Ok(false);
        }
        self.refresh();
        Ok(self.take_back(cx)?.is_some())
    }

    /// Takes the vCPU back from the guest's handler for breakpoints to the breakpoint of ours that it came from.
    /// Returns where that is, without its site if that has gone meanwhile. None, and nothing changed, if the guest came
    /// there by itself.
    fn take_back(&mut self, cx: &mut Context<'_>) -> Result<Option<(u64, Option<Site>)>> {
        let handler = cx.vcpu.rip();
        // An interrupt for which the guest has the same handler.
        if cx.injected.is_some_and(|vector| self.idt.handler(vector) == Some(handler)) {
            return Ok(None);
        }
        let paging = self.shared.paging(&cx.vcpu.sregs());
        let Some(frame) = Frame::read(cx.memory, &paging, cx.vcpu.regs().rsp) else { return Ok(None) };
        let pc = frame.rip.wrapping_sub(1);
        let (site, gone) = match self.find(pc, cx) {
            Found::Ours(site) if site.original == INT3 => (None, false),
            Found::Ours(site) => (Some(site), false),
            Found::Guests => (None, false),
            // Nor is it `INT 3`, or anything else that the guest has this handler for: a breakpoint of ours, or a copy of
            // one, that was taken away a moment ago.
            Found::Nothing => {
                let alone = self.idt.handlers().get(&handler).is_some_and(|vectors| vectors.len() == 1);
                (None, alone && !self.is_int(3, pc.wrapping_sub(1), cx))
            }
        };
        if site.is_none() && !gone {
            return Ok(None);
        }
        let mut executor = Executor { vcpu: &mut *cx.vcpu, memory: cx.memory, paging };
        let rewound = Frame { rip: pc, rflags: frame.rflags & !RFLAGS_RF, ..frame };
        if !executor.return_to(&rewound)? {
            return Ok(None);
        }
        self.shield_again(&rewound, &paging, cx)?;
        Ok(Some((pc, site)))
    }

    /// An instruction behind `STI` or a load of SS is shielded from interrupts, until a breakpoint there bounces. It is
    /// shielded again if it may have been: for one instruction too much nobody waits.
    fn shield_again(&self, frame: &Frame, paging: &Paging, cx: &mut Context<'_>) -> Result<()> {
        const STI: u8 = 0xfb;
        let mut before = [0; 2];
        let at = frame.rip.wrapping_sub(before.len() as u64);
        if read_code(cx.memory, paging, &self.table, at, &mut before) != before.len() {
            return Ok(());
        }
        // With interrupts off VMX does not enter a guest that has the shadow of an STI.
        match before {
            [_, STI] if frame.rflags & RFLAGS_IF != 0 => cx.vcpu.begin_shadow(Shadow::Sti),
            [0x8e, 0xd0..=0xd7] => cx.vcpu.begin_shadow(Shadow::MovSs),
            _ => Ok(()),
        }
    }
}
