//! What the simulated visitors do, and how they take what they hear.

use super::*;

impl Simulator {
    pub(super) fn record(&mut self, v: u32, connection: u32, event: Event) {
        self.recorded.put(self.now, v, connection, event);
    }

    pub(super) fn say(&mut self, v: u32, say: Say) {
        let connection = self.clients[v as usize].connections;
        let after = self.arrival(v, connection, true);
        self.later(after, What::ToServer(v, connection, say));
    }

    pub(super) fn join(&mut self, v: u32) {
        self.record(v, self.clients[v as usize].connections, Event::Join { again: false });
        self.say(v, Say::Join);
    }

    pub(super) fn act(&mut self, v: u32, act: Act) {
        let current = self.clients[v as usize].connections;
        let connected = self.clients[v as usize].open.contains(&current);
        match act {
            Act::Connect => {
                // A second tab leaves the first one open.
                let client = &mut self.clients[v as usize];
                client.connections += 1;
                client.open.insert(client.connections);
                self.join(v);
            }
            _ if !connected || self.clients[v as usize].over => {}
            Act::Drop => {
                self.record(v, current, Event::Cut(None));
                self.say(v, Say::Gone);
                self.clients[v as usize].open.remove(&current);
                let away = self.ms(50, 8000);
                self.later(away, What::Act(v, Act::Connect));
            }
            Act::Leave => {
                self.record(v, current, Event::Leave);
                self.say(v, Say::Leave);
            }
            Act::Seats => {
                self.record(v, current, Event::Seats);
                self.say(v, Say::Seats);
            }
            Act::Redeem(token) => {
                let client = &mut self.clients[v as usize];
                client.requests += 1;
                let (request, key) = (format!("r{}", client.requests), client.token);
                if key.is_some() {
                    self.record(v, current, redeem(&request, token));
                    self.say(v, Say::Redeem(request, token, key));
                }
            }
        }
    }

    pub(super) fn hear(&mut self, v: u32, connection: u32, event: Event, key: Option<Key>) {
        if !self.clients[v as usize].open.contains(&connection) {
            return;
        }
        self.record(v, connection, event.clone());
        if let Event::Cut(_) = event {
            self.clients[v as usize].open.remove(&connection);
        }
        if connection != self.clients[v as usize].connections {
            return;
        }
        match event {
            Event::Joined { state: Standing::Waiting, .. } => {
                for (chance, act) in [(0.3, Act::Drop), (0.1, Act::Connect), (0.05, Act::Leave)] {
                    if self.chance(chance) {
                        let after = self.ms(0, 15_000);
                        self.later(after, What::Act(v, act));
                    }
                }
            }
            Event::Granted { .. } => {
                self.clients[v as usize].token = key;
                if self.chance(0.25) {
                    return;
                }
                let (look, click) = (self.ms(1, 300), self.ms(400, 3000));
                self.later(look, What::Act(v, Act::Seats));
                self.later(click, What::Act(v, Act::Redeem(Token::Own)));
                if self.chance(0.3) {
                    self.later(click + 20, What::Act(v, Act::Redeem(Token::Own)));
                }
                for (chance, act) in
                    [(0.1, Act::Redeem(Token::Forged)), (0.1, Act::Drop), (0.1, Act::Connect)]
                {
                    if self.chance(chance) {
                        self.later(click + 9 * MS, What::Act(v, act));
                    }
                }
            }
            Event::Refused { reason, .. } if reason == "seat_taken" => {
                self.later(200 * MS, What::Act(v, Act::Redeem(Token::Own)));
            }
            Event::Lapsed(LapseReason::Missed) => self.join(v),
            Event::Lapsed(_) if self.chance(0.3) => self.join(v),
            Event::Booking { request: Some(_), .. } => {
                if self.chance(0.3) {
                    self.later(S, What::Act(v, Act::Redeem(Token::Own)));
                } else {
                    self.later(S, What::Act(v, Act::Drop));
                }
            }
            _ => {}
        }
    }
}
