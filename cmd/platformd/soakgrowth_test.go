package main

import (
	"math"
	"testing"
)

// growth is the line of least squares through samples of one kind: its slope in an hour, the standard error of that, and the
// mean.
type growth struct{ slope, err, mean float64 }

// real reports whether it is more than chance and more than nothing. Samples that follow each other are alike, so the
// error of the line says too little; three of them are asked for, and a fiftieth of the mean in an hour.
func (g growth) real() bool { return g.slope > 3*g.err && g.slope > g.mean/50 }

func (s *soak) growth(name string) growth {
	half := s.samples[len(s.samples)/2:]
	var x, y []float64
	for _, v := range half {
		x, y = append(x, v.at.Hours()), append(y, v.values[name])
	}
	return line(x, y)
}

func line(x, y []float64) growth {
	n := float64(len(x))
	if n < 3 {
		return growth{}
	}
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	var sxx, sxy float64
	for i := range x {
		sxx, sxy = sxx+(x[i]-mx)*(x[i]-mx), sxy+(x[i]-mx)*(y[i]-my)
	}
	if sxx == 0 {
		return growth{mean: my}
	}
	slope, rest := sxy/sxx, 0.0
	for i := range x {
		d := y[i] - my - slope*(x[i]-mx)
		rest += d * d
	}
	return growth{slope, math.Sqrt(rest / (n - 2) / sxx), my}
}

// TestGrowthIsTold: a leak of a tenth in an hour is found in noise of a thirtieth, and noise alone is no growth.
func TestGrowthIsTold(t *testing.T) {
	for _, leak := range []float64{0, 100} {
		var x, y []float64
		for i := range 120 {
			at := float64(i) / 240
			x, y = append(x, at), append(y, 1000+30*math.Sin(float64(i*i))+leak*at) // a sine of squares has no direction
		}
		if g := line(x, y); g.real() != (leak > 0) || math.Abs(g.slope-leak) > 4*g.err {
			t.Errorf("a leak of %v: %+v", leak, g)
		}
	}
}
