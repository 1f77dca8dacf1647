// check.mjs DIR opens the pages of DIR in headless Chromium, in light and dark, takes a picture of
// each, and fails if a page requests anything or if axe-core finds a violation. It is run by
// `make page-check`, which installs puppeteer-core and axe-core beside it.
import fs from 'node:fs'
import path from 'node:path'
import puppeteer from 'puppeteer-core'

const dir = path.resolve(process.argv[2])
const axe = fs.readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8')
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] })
let failed = false
for (const name of fs.readdirSync(dir).filter(f => f.endsWith('.html'))) {
  for (const scheme of ['light', 'dark']) {
    const page = await browser.newPage()
    const requests = []
    page.on('request', r => requests.push(r.url()))
    await page.setViewport({ width: 1280, height: 900 })
    await page.setBypassCSP(true) // for axe-core only: the page itself runs no script
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
    await page.goto('file://' + path.join(dir, name))
    await page.screenshot({ path: path.join(dir, name.replace('.html', `-${scheme}.png`)), fullPage: true })
    await page.evaluate(() => document.querySelectorAll('details').forEach(d => { d.open = true }))
    await page.evaluate(axe)
    const { violations } = await page.evaluate(() => axe.run())
    console.log(`${name} ${scheme}: ${requests.length - 1} requests, ${violations.length} violations`)
    for (const v of violations) console.log(`  ${v.impact} ${v.id}: ${v.help}: ${v.nodes[0].html}`)
    failed ||= violations.length > 0 || requests.length > 1
    await page.close()
  }
}
await browser.close()
process.exit(failed ? 1 : 0)
