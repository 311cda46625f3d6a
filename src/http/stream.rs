//! The stream: events as text and arrays as binary messages, at the reader's own pace.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::http::StatusCode;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::hub::{Hub, MOST_RATE, Seat, Wish, missed};
use super::service::Refusal;
use crate::system::Topic;

/// Times a second where nobody says.
const RATE: f64 = 10.0;
/// The slowest pace.
const LEAST_RATE: f64 = 0.1;
/// Events that go out at once; the rest waits for the next time.
const AT_ONCE: usize = 2048;
/// How long a reader may take none before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads `topics=…&rate=…`.
pub fn wish(topics: Option<&str>, rate: Option<&str>) -> Result<Wish, Refusal> {
    let wrong = |what: String| Refusal::new(StatusCode::BAD_REQUEST, what);
    let rate = match rate {
        None => RATE,
        Some(text) => {
            let rate = text.parse().ok().filter(|rate| (LEAST_RATE..=MOST_RATE).contains(rate));
            rate.ok_or_else(|| wrong(format!("rate={text}; accepted: {LEAST_RATE} to {MOST_RATE} times a second")))?
        }
    };
    let mut wish = Wish { events: false, status: false, topics: Vec::new(), rate };
    for name in topics.unwrap_or("events,status").split(',') {
        match (name, Topic::ALL.into_iter().find(|topic| topic.name() == name)) {
            ("events", _) => wish.events = true,
            ("status", _) => wish.status = true,
            (_, Some(topic)) if !wish.topics.contains(&topic) => wish.topics.push(topic),
            (_, Some(_)) => {}
            (_, None) => {
                let known = Topic::ALL.map(Topic::name).join(", ");
                return Err(wrong(format!("topics: found `{name}`; accepted: events, status, {known}")));
            }
        }
    }
    Ok(wish)
}

/// Serves one reader until it leaves or the server ends.
pub async fn serve(socket: WebSocket, hub: Arc<Hub>, wish: Wish, seat: Seat) {
    let (mut out, mut inward) = socket.split();
    let mut events = wish.events.then(|| hub.events());
    let mut status = wish.status.then(|| hub.status());
    let mut views: Vec<_> = wish.topics.iter().map(|topic| hub.views(*topic)).collect();
    // What was made before this reader came is new to it.
    status.iter_mut().for_each(tokio::sync::watch::Receiver::mark_changed);
    let closing = hub.closing();
    let mut tick = interval(Duration::from_secs_f64(1.0 / wish.rate));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            message = inward.next() => match message {
                // What a reader says is not understood; pings are answered on their own.
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
        }
        let ending = *closing.borrow();
        let mut messages = Vec::new();
        if let Some(events) = &mut events {
            loop {
                match events.try_recv() {
                    Ok(text) => messages.push(Message::Text(text)),
                    Err(TryRecvError::Lagged(count)) => {
                        messages.push(Message::Text(missed("events", count).to_string().into()));
                    }
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
                if messages.len() >= AT_ONCE && !ending {
                    break;
                }
            }
        }
        if let Some(status) = &mut status
            && status.has_changed().unwrap_or(false)
        {
            let text = status.borrow_and_update().clone();
            messages.extend((!text.is_empty()).then_some(Message::Text(text)));
        }
        for view in &mut views {
            if view.has_changed().unwrap_or(false) {
                let (_, made) = view.borrow_and_update().clone();
                messages.extend(made.iter().cloned().map(Message::Binary));
            }
        }
        if ending {
            let reason = "the server ends".into();
            messages.push(Message::Close(Some(CloseFrame { code: close_code::AWAY, reason })));
        }
        if messages.is_empty() {
            continue;
        }
        // All of a moment's messages go out together.
        let sending = async {
            for message in messages {
                out.feed(message).await?;
            }
            out.flush().await
        };
        if !matches!(timeout(PATIENCE, sending).await, Ok(Ok(()))) || ending {
            break;
        }
    }
    drop(seat);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_understood_or_refused_with_what_is_accepted() {
        let all = wish(Some("events,map,map,beams"), Some("25")).unwrap();
        let expected = Wish { events: true, status: false, topics: vec![Topic::Map, Topic::Beams], rate: 25.0 };
        assert_eq!(all, expected);
        assert!(wish(None, None).unwrap().status);
        for (topics, rate, said) in [
            ("maps", "1", "topics: found `maps`; accepted: events, status, spectrum, constellation, map, beams"),
            ("", "1", "topics: found ``"),
            ("map", "0", "rate=0; accepted: 0.1 to 60 times a second"),
            ("map", "NaN", "rate=NaN"),
            ("map", "1e9", "rate=1e9"),
        ] {
            let refusal = wish(Some(topics), Some(rate)).unwrap_err();
            assert!(refusal.error.starts_with(said) && refusal.status == 400, "{}", refusal.error);
        }
    }
}
