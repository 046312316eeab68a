//! The shop that the demo watches: its services and what each of them writes to its log, as data.

use super::encode::Value;

/// A service: one OTLP resource for each of its instances.
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) n_instances: usize,
    /// Name of the instrumentation scope of its records.
    pub(super) scope: &'static str,
    /// Swing of the daily cycle: 0.5 goes from half to one and a half times the mean.
    pub(super) daily_swing: f64,
    pub(super) templates: Vec<Template>,
}

/// One kind of log record.
pub(super) struct Template {
    pub(super) rhythm: Rhythm,
    pub(super) level: Level,
    /// Body with slots, see `pattern.rs`.
    pub(super) body: &'static str,
    /// Median of its log-normal duration, where it has one.
    pub(super) median_ms: Option<f64>,
    pub(super) attributes: Vec<(&'static str, Value<'static>)>,
    /// Whether it carries trace and span id.
    pub(super) traced: bool,
    /// Whether each line of the body is a record of its own, as naive file readers make it.
    pub(super) by_line: bool,
    /// Whether an incident may single it out: steady, at least 20 a minute by day.
    pub(super) headline: bool,
}

/// When a template is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rhythm {
    /// At random, this often a minute over the mean of a day.
    PerMinute(f64),
    /// Every so many seconds on each instance.
    Every(u64),
    /// Every hour, from this minute on for one minute, this many.
    Hourly { minute: u64, records: f64 },
    /// Every day, from this minute of the day on.
    Daily {
        minute: u64,
        minutes: u64,
        per_minute: f64,
    },
}

/// Severity as OTLP numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Debug = 5,
    Info = 9,
    Warn = 13,
    Error = 17,
}

impl Level {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// Minute of the shop's day at which the daily report is exported: one that the story passes.
pub(super) const REPORT_MINUTE: u64 = 14 * 60 + 37;
/// How long the export floods the log.
pub(super) const REPORT_MINUTES: u64 = 4;
/// Index of the service that exports it.
pub(super) const BATCH: usize = 7;

/// All services; the last is the one with cron jobs, the others can be struck by an incident.
pub(super) fn services() -> Vec<Service> {
    vec![
        gateway(),
        checkout(),
        payment(),
        catalog(),
        auth(),
        inventory(),
        shipping(),
        batch(),
    ]
}

/// Errors that no service has written before an incident makes it do so.
pub(super) fn faults() -> Vec<Template> {
    [
        "connection pool exhausted: timed out after <id> ms waiting for a connection to orders-db",
        "panic: runtime error: index out of range [<n>] with length <n>\n\ngoroutine <id> [running]:\nmain.(*Cache).lookup(0xc000<hex>, 0x<n>)\n\t/src/cache.go:211 +0x1d",
        "java.lang.OutOfMemoryError: Java heap space\n\tat java.util.Arrays.copyOf(Arrays.java:3512)\n\tat com.shop.report.Buffer.grow(Buffer.java:<id>)",
        "x509: certificate has expired or is not yet valid: peer <ip>:8443 presented serial <hex>",
        "level=error msg=\"schema registry refused message\" subject=orders-v<n> schema_id=<id> err=\"incompatible schema\"",
        "{\"severity\":\"error\",\"message\":\"deadlock detected while updating stock row\",\"row\":<id>,\"txn\":\"<hex>\"}",
        "disk quota exceeded while writing segment <id> of journal <hex>",
        "upstream <ip>:9000 answered with an unparsable token, rejecting session <uuid>",
    ]
    .map(|body| error(0.0, body).traced())
    .into()
}

/// What a freshly deployed version writes that the old one did not; the first three at start only.
pub(super) fn novelties() -> Vec<Template> {
    [
        (0.0, "starting <host> version <version> build <hex>"),
        (
            0.0,
            "configuration loaded from /etc/shop/config.yaml in <n> ms",
        ),
        (0.0, "ready to serve, listening on 0.0.0.0:8080"),
        (
            3.0,
            "feature gate smart-retry evaluated for <user>: enabled",
        ),
        (1.5, "prefetched <n> entries into the session cache"),
    ]
    .map(|(per_minute, body)| info(per_minute, body))
    .into()
}

fn gateway() -> Service {
    let access = |per_minute, body, route, status| {
        info(per_minute, body)
            .took(48.0)
            .with("http.route", Value::Text(route))
            .with("http.response.status_code", Value::Int(status))
    };
    Service {
        name: "gateway",
        version: "2.8.1",
        n_instances: 2,
        scope: "nginx.access",
        daily_swing: 0.5,
        templates: vec![
            access(
                38.0,
                "<ip> - - [<clf>] \"GET /api/items/<id> HTTP/1.1\" 200 <bytes> <seconds>",
                "/api/items/{id}",
                200,
            ),
            access(
                9.0,
                "<ip> - - [<clf>] \"GET /api/search?q=<hex> HTTP/1.1\" 200 <bytes> <seconds>",
                "/api/search",
                200,
            ),
            access(
                1.2,
                "<ip> - - [<clf>] \"GET /api/items/<id> HTTP/1.1\" 404 <n> <seconds>",
                "/api/items/{id}",
                404,
            ),
            access(
                30.0,
                "<ip> - <user> [<clf>] \"POST /api/orders HTTP/2.0\" 201 <bytes> <seconds>",
                "/api/orders",
                201,
            )
            .headline(),
            access(
                0.3,
                "<ip> - <user> [<clf>] \"POST /api/orders HTTP/2.0\" 502 <n> <seconds>",
                "/api/orders",
                502,
            ),
            access(
                4.0,
                "<ip> - <user> [<clf>] \"DELETE /api/cart/<id> HTTP/1.1\" 204 0 <seconds>",
                "/api/cart/{id}",
                204,
            ),
            access(
                2.0,
                "<ip> - - [<clf>] \"OPTIONS /api/orders HTTP/1.1\" 204 0 <seconds>",
                "/api/orders",
                204,
            ),
            warn(
                1.1,
                "client <ip> closed keepalive connection while request <hex> was pending",
            ),
            error(
                0.5,
                "upstream timed out (110: Connection timed out) while reading response header from upstream, client: <ip>, server: shop.example",
            ),
            info(0.05, "reloaded <n> certificates"),
        ],
    }
}

fn checkout() -> Service {
    Service {
        name: "checkout",
        version: "4.12.3",
        n_instances: 2,
        scope: "com.shop.checkout.OrderService",
        daily_swing: 0.45,
        templates: vec![
            info(33.0, "order <id> placed by <user>: <n> items, total <money> EUR").traced().headline(),
            info(31.0, "POST /checkout answered 200 in <ms> ms for cart <uuid>")
                .took(140.0).traced()
                .with("http.route", Value::Text("/checkout"))
                .with("http.request.method", Value::Text("POST"))
                .with("http.response.status_code", Value::Int(200)),
            debug(9.0, "cart <uuid> repriced, <n> lines changed").traced(),
            info(5.0, "voucher <hex> applied to order <id>, discount <money> EUR"),
            warn(2.2, "payment for order <id> was declined by issuer, offering another method").traced(),
            warn(0.7, "address of <user> could not be validated, continuing without"),
            error(0.4, "could not reserve stock for order <id>: com.shop.StockException: <n> left\n\tat com.shop.checkout.Reserve.run(Reserve.java:88)\n\tat com.shop.checkout.OrderService.place(OrderService.java:231)\n\tat java.base/java.lang.Thread.run(Thread.java:1583)").traced(),
            info(1.5, "abandoned cart <uuid> of <user> expired"),
            info(0.3, "exchange rates refreshed: <n> currencies"),
            debug(0.6, "circuit breaker payments half-open, probing"),
            info(0.004, "rotated signing key <hex>"),
            warn(0.01, "clock skew of <n> ms against ntp.internal"),
        ],
    }
}

fn payment() -> Service {
    Service {
        name: "payment",
        version: "1.31.0",
        n_instances: 1,
        scope: "payment/authorize",
        daily_swing: 0.45,
        templates: vec![
            info(32.0, "level=info msg=\"authorization approved\" order=<id> bank=<bank> amount=<money> took=<ms>ms")
                .took(220.0).traced().headline(),
            info(28.0, "level=info msg=\"capture settled\" order=<id> batch=<hex> country=<country>").headline(),
            warn(3.0, "level=warn msg=\"card declined\" order=<id> bank=<bank> reason=insufficient_funds"),
            warn(0.9, "level=warn msg=\"3ds challenge abandoned\" order=<id> user=<user>"),
            error(0.5, "level=error msg=\"bank gateway timeout\" bank=<bank> attempt=<n> took=30000ms"),
            info(1.4, "level=info msg=\"refund issued\" order=<id> amount=<money>"),
            debug(6.0, "level=debug msg=\"fraud score computed\" order=<id> score=0.<n> model=<version>"),
            info(0.2, "level=info msg=\"settlement file uploaded\" rows=<id> bytes=<bytes>"),
            warn(0.01, "level=warn msg=\"webhook signature older than tolerance\" peer=<ip>"),
            error(0.003, "level=error msg=\"ledger entry rejected, scheduled for manual review\" order=<id>"),
        ],
    }
}

fn catalog() -> Service {
    Service {
        name: "catalog",
        version: "7.4.2",
        n_instances: 1,
        scope: "catalog.http",
        daily_swing: 0.5,
        templates: vec![
            info(42.0, "{\"level\":\"info\",\"msg\":\"item served\",\"sku\":\"<sku>\",\"cache\":\"hit\",\"elapsed_ms\":<ms>}")
                .took(32.0).traced().headline(),
            info(24.0, "{\"level\":\"info\",\"msg\":\"search completed\",\"query\":\"<hex>\",\"results\":<n>,\"elapsed_ms\":<ms>}")
                .took(95.0).traced().headline(),
            debug(8.0, "{\"level\":\"debug\",\"msg\":\"cache refreshed\",\"sku\":\"<sku>\",\"bytes\":<bytes>}"),
            warn(1.6, "{\"level\":\"warn\",\"msg\":\"image missing, placeholder used\",\"sku\":\"<sku>\"}"),
            error(0.6, "{\"level\":\"error\",\"msg\":\"price feed returned negative price, ignored\",\"sku\":\"<sku>\",\"price\":-<n>}"),
            info(0.4, "{\"level\":\"info\",\"msg\":\"index segment merged\",\"segment\":\"<hex>\",\"documents\":<id>}"),
            info(0.02, "{\"level\":\"info\",\"msg\":\"snapshot written\",\"path\":\"/var/lib/catalog/<hex>\"}"),
            warn(0.3, "{\"level\":\"warn\",\"msg\":\"slow shard\",\"shard\":<n>,\"node\":\"<ip>\"}"),
        ],
    }
}

fn auth() -> Service {
    Service {
        name: "auth",
        version: "3.0.9",
        n_instances: 1,
        scope: "auth.sessions",
        daily_swing: 0.4,
        templates: vec![
            info(34.0, "session <uuid> opened for <user> from <ip>")
                .traced()
                .headline(),
            info(30.0, "token verified for <user> in <ms> ms")
                .took(26.0)
                .traced()
                .with("http.route", Value::Text("/verify"))
                .with("http.response.status_code", Value::Int(200)),
            warn(4.5, "failed password for <user> from <ip> port <id>"),
            info(3.0, "session <uuid> closed: logged out by user"),
            info(2.0, "session <uuid> closed: idle for <n> minutes"),
            warn(0.5, "rate limit reached for <ip>, delaying answers"),
            error(
                0.35,
                "Traceback (most recent call last):\n  File \"/srv/auth/oidc.py\", line 142, in exchange\n    response.raise_for_status()\n  File \"/srv/auth/http.py\", line 61, in raise_for_status\n    raise ProviderError(self.status)\nProviderError: identity provider answered 503",
            ),
            info(
                0.1,
                "signing keys fetched from https://id.example/keys/<hex>",
            ),
            info(0.01, "password policy reloaded, minimum length <n>"),
        ],
    }
}

fn inventory() -> Service {
    Service {
        name: "inventory",
        version: "5.6.0",
        n_instances: 1,
        scope: "inventory",
        daily_swing: 0.35,
        templates: vec![
            info(32.0, "reserved <n> x <sku> in <warehouse> for order <id>").traced().headline(),
            info(27.0, "stock query for <sku> took <ms> ms").took(38.0).traced()
                .with("db.system.name", Value::Text("postgresql")),
            debug(0.0, "heartbeat ok, lag <n> ms").every(5),
            info(6.0, "released reservation <uuid>, order <id> cancelled"),
            warn(1.0, "stock of <sku> below reorder point: <n> left in <warehouse>"),
            error(0.3, "Unhandled exception in replication worker <n>\n\tat Shop.Inventory.Replicator.Pull(Replicator.cs:77)\n\tat Shop.Inventory.Replicator.Loop(Replicator.cs:41)\n\tat System.Threading.Thread.Start()").by_line(),
            info(0.2, "vacuum of table reservations removed <id> rows"),
            warn(0.006, "replica <ip>:5432 is <n> segments behind"),
        ],
    }
}

fn shipping() -> Service {
    Service {
        name: "shipping",
        version: "0.19.4",
        n_instances: 1,
        scope: "shipping::label",
        daily_swing: 0.4,
        templates: vec![
            info(
                31.0,
                "label created for parcel <hex>: order <id>, <n> kg, destination <country>",
            )
            .traced()
            .headline(),
            info(25.0, "carrier api responded in <ms> ms to parcel <hex>")
                .took(310.0)
                .traced()
                .with("server.address", Value::Text("api.carrier.example")),
            info(
                12.0,
                "tracking event received: parcel <hex> scanned at hub <id>",
            ),
            debug(4.0, "route recalculated for van <n>, <n> stops left"),
            warn(1.3, "carrier throttled us, retrying parcel <hex> in <n> s"),
            error(0.4, "label printer <n> in <warehouse> is offline"),
            warn(0.2, "parcel <hex> undeliverable: recipient unknown"),
            info(0.05, "tariff table updated to revision <id>"),
            error(
                0.002,
                "customs declaration for parcel <hex> rejected: missing tariff number",
            ),
        ],
    }
}

fn batch() -> Service {
    Service {
        name: "batch",
        version: "2.2.0",
        n_instances: 1,
        scope: "batch.scheduler",
        daily_swing: 0.1,
        templates: vec![
            info(16.0, "polled queue mail: <n> messages"),
            info(9.0, "mail <uuid> sent to <user> in <ms> ms").took(180.0),
            warn(0.6, "mail to <user> bounced: mailbox full"),
            error(0.2, "smtp relay <ip>:25 refused connection, will retry"),
            debug(0.0, "scheduler tick <id>").every(15),
            info(0.0, "thumbnail <hex> regenerated").hourly(5, 60.0),
            info(0.0, "report export started, period <id>").daily(REPORT_MINUTE, 1, 1.0),
            info(0.0, "exported report row <id> for merchant <hex>").daily(
                REPORT_MINUTE,
                REPORT_MINUTES,
                240.0,
            ),
            warn(0.0, "merchant <hex> has no invoice address, row skipped").daily(
                REPORT_MINUTE,
                REPORT_MINUTES,
                12.0,
            ),
        ],
    }
}

fn template(level: Level, per_minute: f64, body: &'static str) -> Template {
    Template {
        rhythm: Rhythm::PerMinute(per_minute),
        level,
        body,
        median_ms: None,
        attributes: Vec::new(),
        traced: false,
        by_line: false,
        headline: false,
    }
}

fn debug(per_minute: f64, body: &'static str) -> Template {
    template(Level::Debug, per_minute, body)
}

fn info(per_minute: f64, body: &'static str) -> Template {
    template(Level::Info, per_minute, body)
}

fn warn(per_minute: f64, body: &'static str) -> Template {
    template(Level::Warn, per_minute, body)
}

fn error(per_minute: f64, body: &'static str) -> Template {
    template(Level::Error, per_minute, body)
}

impl Template {
    fn took(mut self, median_ms: f64) -> Self {
        self.median_ms = Some(median_ms);
        self
    }

    fn with(mut self, key: &'static str, value: Value<'static>) -> Self {
        self.attributes.push((key, value));
        self
    }

    fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    fn by_line(mut self) -> Self {
        self.by_line = true;
        self
    }

    fn headline(mut self) -> Self {
        self.headline = true;
        self
    }

    fn every(mut self, seconds: u64) -> Self {
        self.rhythm = Rhythm::Every(seconds);
        self
    }

    fn hourly(mut self, minute: u64, records: f64) -> Self {
        self.rhythm = Rhythm::Hourly { minute, records };
        self
    }

    fn daily(mut self, minute: u64, minutes: u64, per_minute: f64) -> Self {
        self.rhythm = Rhythm::Daily {
            minute,
            minutes,
            per_minute,
        };
        self
    }
}
