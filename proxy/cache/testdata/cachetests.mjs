// Runs the npm package http-cache-tests for the Go test beside this folder.
//
//   node cachetests.mjs server PACKAGE        the origin, on a free port of the loopback, which it prints
//   node cachetests.mjs client PACKAGE URL    the tests against a cache at URL; prints one JSON object for each
import http from 'node:http'
import path from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [mode, folder, base] = process.argv.slice(2)
const load = file => import(pathToFileURL(path.join(folder, file)))

if (mode === 'server') {
  const handlers = {}
  for (const name of ['config', 'test', 'state']) {
    handlers[name] = (await load(`server/handle-${name}.mjs`)).default
  }
  const server = http.createServer((request, response) => {
    const segments = new URL(request.url, 'http://origin').pathname.split('/').slice(1)
    const handle = handlers[segments.shift()]
    if (handle) {
      handle(segments, request, response)
    } else {
      response.writeHead(404).end()
    }
  })
  // Whoever started this reads its output, and closes its input when it is done.
  process.stdin.on('end', () => process.exit(0)).resume()
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
} else {
  const { runTests, getResults } = await load('client/runner.mjs')
  const { determineTestResult } = await load('lib/display.mjs')
  const suites = (await load('tests/index.mjs')).default
  suites.push((await load('tests/surrogate-control.mjs')).default)
  const fetch = createRequire(path.join(folder, 'package.json'))('node-fetch')
  // Some tests again: by their names, separated by commas.
  const only = process.env.ONLY_TESTS ? process.env.ONLY_TESTS.split(',') : null
  const wanted = suites.map(suite => ({ ...suite, tests: suite.tests.filter(test => !only || only.includes(test.id)) }))
  await runTests(wanted, fetch, false, base)
  const results = getResults()
  for (const suite of suites) {
    for (const test of suite.tests) {
      if (results[test.id] === undefined) continue // for browsers
      console.log(JSON.stringify({
        id: test.id,
        suite: suite.id,
        kind: test.kind || 'required',
        name: test.name,
        passed: ['✅', 'Y'].includes(determineTestResult(suites, test.id, results, !only)[2]),
        why: results[test.id] === true ? '' : results[test.id].join(': ')
      }))
    }
  }
  process.exit(0)
}
