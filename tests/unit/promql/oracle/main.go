// Command oracle asks Prometheus's own parser and engine for what the tests compare with.
//
//	oracle parse < expressions.json > trees.json
//	oracle match < patterns.json    > matches.json
//	oracle eval  < cases.json       > values.json
//
// Floats are written as the 16 hexadecimal digits of their bits; positions are byte offsets.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

func main() {
	stock := parser.NewParser(parser.Options{})
	decoder, encoder := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	switch os.Args[1] {
	case "parse":
		var texts []string
		check(decoder.Decode(&texts))
		answers := make([]any, 0, len(texts))
		for _, text := range texts {
			answers = append(answers, parseOne(stock, text))
		}
		check(encoder.Encode(answers))
	case "match":
		var questions [][2]string
		check(decoder.Decode(&questions))
		answers := make([]any, 0, len(questions))
		for _, question := range questions {
			answers = append(answers, matchOne(question[0], question[1]))
		}
		check(encoder.Encode(answers))
	case "eval":
		var cases []evalCase
		check(decoder.Decode(&cases))
		engine := promql.NewEngine(promql.EngineOpts{
			MaxSamples: 50_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Parser: stock,
		})
		answers := make([][]any, 0, len(cases))
		for _, one := range cases {
			answers = append(answers, one.run(engine))
		}
		check(encoder.Encode(answers))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func parseOne(p parser.Parser, text string) any {
	expr, err := p.ParseExpr(text)
	if err == nil {
		return tree(expr)
	}
	var list parser.ParseErrors
	if errors.As(err, &list) && len(list) > 0 {
		at := list[0].PositionRange
		return map[string]any{"error": list[0].Err.Error(), "span": []int{int(at.Start), int(at.End)}}
	}
	return map[string]any{"error": err.Error(), "span": nil}
}

// matchOne is whether a value fulfils a regular expression, or nil for a pattern that is none.
func matchOne(pattern, value string) any {
	matcher, err := labels.NewMatcher(labels.MatchRegexp, "label", pattern)
	if err != nil {
		return nil
	}
	return matcher.Matches(value)
}

func bits(value float64) string { return fmt.Sprintf("%016x", math.Float64bits(value)) }

func span(at posrange.PositionRange) []int { return []int{int(at.Start), int(at.End)} }

func strings(list []string) []string { return append([]string{}, list...) }

func selector(node *parser.VectorSelector) []any {
	matchers := [][]string{}
	for _, m := range node.LabelMatchers {
		matchers = append(matchers, []string{m.Name, m.Type.String(), m.Value})
	}
	return []any{"selector", node.Name, matchers, int64(node.OriginalOffset), node.Timestamp, bound(node.StartOrEnd), span(node.PosRange)}
}

func bound(item parser.ItemType) string {
	if item == 0 {
		return ""
	}
	return parser.ItemTypeStr[item]
}

func tree(node parser.Expr) []any {
	at := span(node.PositionRange())
	switch n := node.(type) {
	case *parser.NumberLiteral:
		return []any{"number", bits(n.Val), n.Duration, at}
	case *parser.StringLiteral:
		return []any{"string", fmt.Sprintf("%x", n.Val), at}
	case *parser.VectorSelector:
		return selector(n)
	case *parser.MatrixSelector:
		return []any{"range", selector(n.VectorSelector.(*parser.VectorSelector)), int64(n.Range), at}
	case *parser.SubqueryExpr:
		return []any{"subquery", tree(n.Expr), int64(n.Range), int64(n.Step), int64(n.OriginalOffset), n.Timestamp, bound(n.StartOrEnd), at}
	case *parser.ParenExpr:
		return []any{"paren", tree(n.Expr), at}
	case *parser.UnaryExpr:
		return []any{"unary", n.Op.String(), tree(n.Expr), at}
	case *parser.BinaryExpr:
		var matching any
		if m := n.VectorMatching; m != nil {
			matching = []any{m.Card.String(), strings(m.MatchingLabels), m.On, strings(m.Include)}
		}
		return []any{"binary", n.Op.String(), tree(n.LHS), tree(n.RHS), matching, n.ReturnBool, at}
	case *parser.AggregateExpr:
		var param any
		if n.Param != nil {
			param = tree(n.Param)
		}
		return []any{"aggregate", n.Op.String(), tree(n.Expr), param, strings(n.Grouping), n.Without, at}
	case *parser.Call:
		args := [][]any{}
		for _, arg := range n.Args {
			args = append(args, tree(arg))
		}
		return []any{"call", n.Func.Name, args, at}
	}
	panic(fmt.Sprintf("unknown node %T", node))
}

type evalCase struct {
	Series []struct {
		Labels map[string]string `json:"labels"`
		Times  []int64           `json:"times"`
		Values []string          `json:"values"`
	} `json:"series"`
	Queries []struct {
		Text string `json:"text"`
		AtMs int64  `json:"at_ms"`
	} `json:"queries"`
}

type querier struct{ series []promql.Series }

// Select returns the series sorted by labels, as blocks do.
func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &seriesSet{}
next:
	for _, one := range q.series {
		for _, m := range matchers {
			if !m.Matches(one.Metric.Get(m.Name)) {
				continue next
			}
		}
		found.series = append(found.series, promql.NewStorageSeries(one))
	}
	return found
}

func (querier) Close() error { return nil }

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

type seriesSet struct {
	series []*promql.StorageSeries
	at     int
}

func (s *seriesSet) Next() bool                      { s.at++; return s.at <= len(s.series) }
func (s *seriesSet) At() storage.Series              { return floatSeries{s.series[s.at-1]} }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

type floatSeries struct{ *promql.StorageSeries }

func (s floatSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	return s.StorageSeries.Iterator(nil)
}

func (c evalCase) run(engine *promql.Engine) []any {
	var all querier
	for _, one := range c.Series {
		series := promql.Series{Metric: labels.FromMap(one.Labels)}
		for i, at := range one.Times {
			value, err := strconv.ParseUint(one.Values[i], 16, 64)
			check(err)
			series.Floats = append(series.Floats, promql.FPoint{T: at, F: math.Float64frombits(value)})
		}
		all.series = append(all.series, series)
	}
	sort.Slice(all.series, func(i, j int) bool { return labels.Compare(all.series[i].Metric, all.series[j].Metric) < 0 })
	queryable := storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return all, nil })
	answers := []any{}
	for _, q := range c.Queries {
		answers = append(answers, c.query(engine, queryable, q.Text, q.AtMs))
	}
	return answers
}

func (evalCase) query(engine *promql.Engine, queryable storage.Queryable, text string, atMs int64) any {
	query, err := engine.NewInstantQuery(context.Background(), queryable, nil, text, time.UnixMilli(atMs))
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	defer query.Close()
	result := query.Exec(context.Background())
	if result.Err != nil {
		return map[string]any{"error": result.Err.Error()}
	}
	switch value := result.Value.(type) {
	case promql.Scalar:
		return bits(value.V)
	case promql.String:
		return map[string]any{"string": value.V}
	case promql.Vector:
		elements := [][]any{}
		for _, sample := range value {
			elements = append(elements, []any{sample.Metric.Map(), bits(sample.F)})
		}
		return elements
	}
	return map[string]any{"error": fmt.Sprintf("a %s", result.Value.Type())}
}
