package corpus

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// A Generator makes the lines of one container. A line follows from its number
// and the container's alone, whatever was made before.
type Generator struct {
	container int
	source    *rand.PCG
	*rand.Rand
}

// NewGenerator makes the generator of a container.
func NewGenerator(container int) *Generator {
	g := &Generator{container: container, source: rand.NewPCG(0, 0)}
	g.Rand = rand.New(g.source)
	return g
}

var (
	agents = [...]string{"curl/8.10.1", "Mozilla/5.0 (X11; Linux x86_64)", "kube-probe/1.31", "Go-http-client/2.0"}
	paths  = [...]string{"/api/cart", "/api/user", "/product", "/static/app.js", "/search"}
	levels = [...]string{"debug", "info", "info", "info", "warn", "error"}
	texts  = [...]string{
		"Grüße aus Köln, Straße 5 — 42 €", "お客様のご注文を発送しました 🚚", "Ваш заказ доставлен ✅", "\x1b[31mfailed\x1b[0m <b>bold</b> & \"quoted\" C:\\temp\t|",
		"naïve café\u2028next \u202eabc", "tab\there, nul\x00 and bell\a", "bad utf-8 \xff\xfe end", "👩‍👩‍👧‍👦 family, 🇫🇷 → 🇯🇵",
	}
	frames = [...]string{
		"java.lang.IllegalStateException: connection pool exhausted after 30000 ms",
		"\tat com.example.shop.order.OrderService.place(OrderService.java:118)",
		"\tat com.example.shop.order.OrderController.post(OrderController.java:41)",
		"\tat jdk.internal.reflect.DirectMethodHandleAccessor.invoke(DirectMethodHandleAccessor.java:103)",
		"\tat org.springframework.web.servlet.DispatcherServlet.doDispatch(DispatcherServlet.java:1089)",
		"\tat org.apache.catalina.core.ApplicationFilterChain.doFilter(ApplicationFilterChain.java:140)",
		"Caused by: java.sql.SQLTransientConnectionException: ledger - Connection is not available",
		"\tat com.zaxxer.hikari.pool.HikariPool.getConnection(HikariPool.java:179)",
		"\tat com.example.shop.order.OrderRepository.save(OrderRepository.java:77)",
		"\t... 42 more",
	}
)

// AppendLine appends line number (from 1) without a newline and says on which
// stream it is.
func (g *Generator) AppendLine(dst []byte, number int) (line []byte, stream string) {
	g.source.Seed(uint64(g.container), uint64(number))
	// The kinds are spread by a step that shares no factor with 990, so that
	// each thousand has exactly its share and neighbours differ.
	at := (number - 1) % 1000
	if at < len(frames) {
		dst = append(dst, frames[at]...)
		dst = append(dst, ' ')
		return AppendMarker(dst, g.container, number), "stderr"
	}
	switch kind := (at - len(frames)) * 601 % 990; {
	case kind < 630:
		dst = g.access(dst, number)
	case kind < 890:
		dst = g.json(dst, number)
	default:
		dst = append(dst, texts[g.IntN(len(texts))]...)
		dst = append(dst, ' ')
		dst = AppendMarker(dst, g.container, number)
		dst = append(dst, ' ')
		dst = append(dst, texts[g.IntN(len(texts))]...)
	}
	return dst, "stdout"
}

func (g *Generator) access(dst []byte, number int) []byte {
	dst = append(dst, "10.32."...)
	dst = strconv.AppendInt(dst, int64(g.IntN(8)), 10)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, int64(1+g.IntN(250)), 10)
	dst = append(dst, " - - ["...)
	dst = Time(number).AppendFormat(dst, "02/Jan/2006:15:04:05 +0000")
	dst = append(dst, `] "GET `...)
	dst = append(dst, paths[g.IntN(len(paths))]...)
	dst = append(dst, '/')
	dst = strconv.AppendInt(dst, int64(g.IntN(10000)), 10)
	dst = append(dst, ` HTTP/1.1" 200 `...)
	dst = strconv.AppendInt(dst, int64(g.IntN(40000)), 10)
	dst = append(dst, ` "`...)
	dst = append(dst, agents[g.IntN(len(agents))]...)
	dst = append(dst, `" `...)
	return AppendMarker(dst, g.container, number)
}

func (g *Generator) json(dst []byte, number int) []byte {
	dst = append(dst, `{"@timestamp":"`...)
	dst = Time(number).AppendFormat(dst, time.RFC3339Nano)
	dst = fmt.Appendf(dst, `","level":"%s","logger":"shop.order","msg":"order placed `, levels[g.IntN(len(levels))])
	dst = AppendMarker(dst, g.container, number)
	return fmt.Appendf(dst, `","order":{"id":%d,"total":%d.%02d,"currency":"EUR","items":%d},"user":{"id":%d,"country":"DE"},"trace_id":"%016x%016x","duration_ms":%d}`,
		g.IntN(1e7), g.IntN(300), g.IntN(100), 1+g.IntN(5), g.IntN(90000), g.Uint64(), g.Uint64(), g.IntN(400))
}
