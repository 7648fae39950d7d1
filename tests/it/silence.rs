//! Connections on which nothing is heard any more. The time a request may take is four minutes in the program, so these
//! stories are told by its own reader and writer with a fraction of a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bcsync::bc::{Answer, Api, ApiRoute, Connection, Failure, Mode, Operation, Reader, Writer};
use bcsync::clock::SystemClock;
use bcsync::http::{AppRegistration, Budget, ClientOptions, Credential, HttpClient, Origin, Session, TokenSource};
use bcsync::model::{RetryPolicy, Value};
use bcsync::simulator::{Options, Simulator};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::proxy::At::{Body, Byte, HalfBody, Header, LastByte};
use crate::proxy::{At, End, Proxy, Trouble};

/// How long a request may take here.
const TIMEOUT: Duration = Duration::from_millis(250);

/// What only the envelopes of these stories have.
const ENVELOPE: &str = "\"displayName\":\"Silent\"";
const COMPANIES: &str = "/companies ";

const POLICY: RetryPolicy = RetryPolicy {
    attempts: 3,
    initial: Duration::from_millis(1),
    max: Duration::from_millis(2),
    patience: Duration::from_mins(1),
};

/// A reader and a writer whose requests go through a proxy to a simulator.
async fn outlet(story: impl AsyncFnOnce(&Simulator, &Proxy, Reader, Writer)) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let proxy = Proxy::start(&simulator.base_url()).await;
    let options = Options::default();
    let client = HttpClient::new(&ClientOptions::default()).unwrap();
    let registration = AppRegistration {
        login_url: simulator.login_url().parse().unwrap(),
        tenant: options.tenant.clone(),
        client_id: options.client_id,
        scope: "https://api.businesscentral.dynamics.com/.default".to_owned(),
        credential: Credential::Secret(options.client_secret.into()),
    };
    let clock = Arc::new(SystemClock);
    let tokens = Arc::new(TokenSource::new(client.clone(), registration, clock.clone()).unwrap());
    let base: Url = proxy.url().parse().unwrap();
    let session = Session::new(client, Origin::of(&base).unwrap(), tokens, Budget::new(4, 1_000), clock.clone());
    let api = Api::new(base, &options.tenant, &options.environment);
    let connection = Arc::new(Connection::new(session, api, clock, 1, TIMEOUT));
    let reader = Reader::new(connection.clone(), POLICY, CancellationToken::new());
    let writer = Writer::new(connection, CancellationToken::new());
    story(&simulator, &proxy, reader, writer).await;
    assert_eq!(proxy.left(), 0, "a trouble never struck");
    simulator.stop().await.unwrap();
}

/// Every way of falling silent in the middle of a message, and of speaking so slowly that it comes to the same.
fn silences(cut: fn(At, End) -> Trouble, places: &[At]) -> Vec<Trouble> {
    places.iter().map(|at| cut(*at, End::Silence)).collect()
}

async fn write(simulator: &Simulator, writer: &Writer) -> (Answer, Duration) {
    let properties = [("displayName".to_owned(), Value::from("Silent"))];
    let url = format!("companies({})/customers", simulator.company_id());
    let operations = [Operation::post(url, Value::Map(properties.into()))];
    let slot = writer.ready().await.unwrap();
    let begun = Instant::now();
    (writer.send(slot, &ApiRoute::standard(), &operations, Mode::Independent).await, begun.elapsed())
}

#[tokio::test]
async fn a_write_into_silence_is_open_when_its_time_is_over() {
    outlet(async |simulator, proxy, _, writer| {
        let requests = silences(Trouble::CutRequest, &[Byte(0), Byte(1), Header, HalfBody, LastByte, At::End]);
        let answers = silences(Trouble::CutAnswer, &[Byte(0), Byte(1), Header, Body, HalfBody, LastByte]);
        let drips = [Header, Body, HalfBody].map(|at| Trouble::Drip(at, Duration::from_secs(1)));
        for trouble in requests.into_iter().chain(answers).chain(drips) {
            proxy.strike(ENVELOPE, trouble, 1);
            let (answer, elapsed) = write(simulator, &writer).await;
            assert!(matches!(answer, Answer::Open { .. }), "{trouble:?}: {answer:?}");
            assert!(elapsed >= TIMEOUT && elapsed < TIMEOUT * 8, "{trouble:?}: {elapsed:?}");
        }
        // Only the first five never reached Business Central.
        assert_eq!(simulator.count("customers").unwrap(), 10);
        assert!(matches!(write(simulator, &writer).await.0, Answer::Parts { .. }), "nothing of it stays behind");
    })
    .await;
}

#[tokio::test]
async fn a_read_into_silence_is_tried_again_and_ends() {
    outlet(async |_, proxy, reader, _| {
        let troubles = [
            Trouble::CutRequest(Header, End::Silence),
            Trouble::CutAnswer(HalfBody, End::Silence),
            Trouble::Drip(Body, Duration::from_secs(1)),
        ];
        for trouble in troubles {
            proxy.strike(COMPANIES, trouble, POLICY.attempts - 1);
            reader.company("CRONUS USA, Inc.").await.unwrap();
            proxy.strike(COMPANIES, trouble, POLICY.attempts);
            let begun = Instant::now();
            let failure = reader.company("CRONUS USA, Inc.").await.unwrap_err();
            assert!(matches!(failure, Failure::Unavailable { .. }), "{trouble:?}: {failure:?}");
            assert!(begun.elapsed() < TIMEOUT * 12, "{trouble:?}: {:?}", begun.elapsed());
        }
    })
    .await;
}
