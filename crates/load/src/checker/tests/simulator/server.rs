//! The simulated server: joins, redeems, ticks, ranks.

use super::*;

impl Simulator {
    pub(super) fn tell(&mut self, v: u32, event: Event, key: Option<Key>) {
        if let Some(connection) = self.sockets.get(&v).copied() {
            self.tell_on(v, connection, event, key);
        }
    }

    pub(super) fn tell_on(&mut self, v: u32, connection: u32, event: Event, key: Option<Key>) {
        let after = self.arrival(v, connection, false);
        self.later(after, What::ToClient(v, connection, event, key));
    }

    pub(super) fn serve(&mut self, v: u32, connection: u32, say: Say) {
        match say {
            Say::Join => self.joins(v, connection),
            Say::Seats => {
                if let Some((_, claim)) = self.grants.get_mut(&v) {
                    *claim = NEVER;
                }
            }
            Say::Redeem(request, token, key) => self.redeems(v, connection, request, token, key),
            Say::Leave => {
                let Some(record) = self.records.get_mut(&v) else { return };
                if matches!(record.stage, Stage::Booked | Stage::Ended) {
                    return;
                }
                record.stage = Stage::Ended;
                self.line.remove(&record.seq);
                self.returned.remove(&record.seq);
                self.grants.remove(&v);
                self.tell(v, Event::Lapsed(LapseReason::Left), None);
            }
            Say::Gone => {
                if self.sockets.get(&v) == Some(&connection) {
                    self.sockets.remove(&v);
                    self.absent.insert(v, self.now);
                }
            }
        }
    }

    pub(super) fn joins(&mut self, v: u32, connection: u32) {
        if let Some(old) = self.sockets.insert(v, connection).filter(|old| *old != connection) {
            self.tell_on(v, old, Event::Cut(Some(4409)), None);
        }
        self.absent.remove(&v);
        let amnesia = self.fault == Fault::Amnesia;
        let mut record = match self.records.get(&v) {
            Some(record) if record.stage != Stage::Ended && !(amnesia && record.stage == Stage::Waiting) => {
                *record
            }
            _ => {
                self.seq += 1;
                self.line.insert(self.seq, v);
                Record { stage: Stage::Waiting, seq: self.seq, turn: 0, owned: false }
            }
        };
        if record.stage == Stage::Away {
            record.stage = Stage::Returned;
            self.returned.insert(record.seq, v);
        }
        self.records.insert(v, record);
        let rank = self.line.range(..record.seq).count() as u64;
        let (state, seq, rank) = match record.stage {
            Stage::Waiting => (Standing::Waiting, Some(record.seq), rank),
            Stage::Granted => (Standing::Granted, Some(record.seq), 0),
            Stage::Booked => (Standing::Booked, None, 0),
            _ => (Standing::Waiting, Some(record.seq), 0),
        };
        self.shown.insert(v, rank);
        let mut joined = stands(v, seq, state, rank);
        if let Event::Joined { phase, .. } = &mut joined {
            *phase = if self.open { Phase::Open } else { Phase::Paused };
        }
        self.tell(v, joined, None);
        if record.stage == Stage::Granted {
            self.grant_told(v);
        }
        if let Some(id) = self.booked.get(&(record.seq, record.turn)).copied().filter(|_| record.owned) {
            self.tell(v, booked(None, id, &[&format!("A-{}", id.as_u128())]), None);
        }
    }

    pub(super) fn grant_told(&mut self, v: u32) {
        let (Some((deadline, claim)), Some(record)) = (self.grants.get(&v), self.records.get(&v)) else {
            return;
        };
        let expires_in_ms = deadline.saturating_sub(self.now) / MS;
        let claim_in_ms = (*claim != NEVER).then(|| claim.saturating_sub(self.now) / MS);
        let key = Some((record.seq, record.turn));
        self.tell(v, Event::Granted { expires_in_ms, claim_in_ms, max_seats: 1 }, key);
    }

    pub(super) fn redeems(
        &mut self,
        v: u32,
        connection: u32,
        request: String,
        token: Token,
        key: Option<Key>,
    ) {
        let Some(key) = key.filter(|_| token == Token::Own || self.fault == Fault::Gullible) else {
            return self.tell_on(v, connection, refused(&request, "token_invalid"), None);
        };
        let before = self.booked.get(&key).copied().filter(|_| self.fault != Fault::Spendthrift);
        let record = self.records.get(&v).copied();
        let live = record.filter(|record| {
            let mine = (record.seq, record.turn) == key;
            mine && (record.stage == Stage::Granted
                || (self.fault == Fault::Spendthrift && record.stage == Stage::Booked))
        });
        let answer = match (before, live) {
            (Some(id), _) => booked(Some(&request), id, &[&format!("A-{}", id.as_u128())]),
            (None, None) => refused(&request, "token_expired"),
            (None, Some(_)) if self.chance(0.2) && !self.booked.contains_key(&key) => {
                refused(&request, "seat_taken")
            }
            (None, Some(record)) => {
                self.bookings += 1;
                let id = Uuid::from_u128(u128::from(self.bookings));
                let seat = format!("A-{}", self.bookings);
                self.booked.insert(key, id);
                self.grants.remove(&v);
                self.records.insert(v, Record { stage: Stage::Booked, owned: true, ..record });
                self.recorded.sell(v, key.0, id, &[&seat]);
                let shop = self.recorded.shop();
                if let Some(row) = shop.bookings.last_mut() {
                    row.grant = GrantKey { seq: key.0, turn: key.1 }.grant_id(&sale());
                }
                booked(Some(&request), id, &[&seat])
            }
        };
        self.tell_on(v, connection, answer, None);
    }
}

/// The ticker, the ranks, and the end.
impl Simulator {
    pub(super) fn tick(&mut self) {
        self.later(TICK, What::Tick);
        let due: Vec<(u32, bool)> = self
            .grants
            .iter()
            .filter(|(_, (deadline, claim))| self.now > *deadline.min(claim))
            .map(|(v, (_, claim))| (*v, self.now > *claim))
            .collect();
        for (v, unclaimed) in due {
            self.grants.remove(&v);
            let Some(record) = self.records.get_mut(&v) else { continue };
            let missed = unclaimed && (record.turn == 0 || self.fault == Fault::Forgiving);
            (record.stage, record.turn) = if missed { (Stage::Away, 1) } else { (Stage::Ended, record.turn) };
            let reason = if missed { LapseReason::Missed } else { LapseReason::Expired };
            self.tell(v, Event::Lapsed(reason), None);
        }
        if !self.open && self.fault != Fault::Unpaused {
            return;
        }
        let (rate, max) = match self.fault {
            Fault::Burst => (15.0, self.max_active),
            Fault::Crowd => (5.0, 40),
            _ => (5.0, self.max_active),
        };
        self.bucket += rate * 0.1;
        let mut budget = (self.bucket.floor() as usize).min(max - self.grants.len().min(max));
        self.bucket -= self.bucket.floor();
        while budget > 0 {
            let head = self.returned.pop_first().or_else(|| match self.fault {
                Fault::LastFirst => self.line.pop_last(),
                _ => self.line.pop_first(),
            });
            let Some((_, v)) = head else { return };
            let Some(record) = self.records.get_mut(&v) else { continue };
            if self.absent.get(&v).is_some_and(|since| self.now >= since + AWAY) {
                record.stage = Stage::Away;
                continue;
            }
            record.stage = Stage::Granted;
            budget -= 1;
            self.grants.insert(v, (self.now + TTL, self.now + CLAIM));
            self.grant_told(v);
        }
    }

    pub(super) fn ranks(&mut self) {
        self.later(300 * MS, What::Ranks);
        let ranks: Vec<(u32, u64)> = self.line.values().zip(0..).map(|(v, rank)| (*v, rank)).collect();
        for (v, rank) in ranks {
            if self.sockets.contains_key(&v) && self.shown.insert(v, rank) != Some(rank) {
                self.tell(v, Event::Rank(rank), None);
            }
        }
    }

    pub(super) fn finish(mut self) -> Recorded {
        for (v, record) in std::mem::take(&mut self.records) {
            self.recorded.keep(v, record.seq, record.stage);
        }
        self.recorded.ended_us = self.now;
        let visitors: HashSet<u32> = self.recorded.entries.iter().map(|entry| entry.1).collect();
        assert_eq!(visitors.len(), self.clients.len());
        self.recorded
    }
}
