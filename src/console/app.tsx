import { A, Route, Router, type RouteSectionProps, useLocation } from '@solidjs/router'
import { createEffect, createResource, createSignal, For, lazy, on, onCleanup, onMount, Show } from 'solid-js'
import { explain } from './net/errors'
import { folderPlace } from './pages/objects/place'
import { uploadsUnderWay } from './pages/objects/uploads'
import { SessionNotice } from './pages/session-notice'
import { SignIn, SignInAgain, SignInMore } from './pages/sign-in'
import { isSignedIn, may, session, signIn, signOut } from './session'
import { loadSettings, settings } from './settings'
import { type TextName, t } from './texts/texts'

const Overview = lazy(() => import('./pages/overview'))
const Cluster = lazy(() => import('./pages/cluster'))
const Buckets = lazy(() => import('./pages/buckets'))
const Objects = lazy(() => import('./pages/objects'))
const Keys = lazy(() => import('./pages/keys'))
const Live = lazy(() => import('./pages/live'))
const Layout = lazy(() => import('./pages/layout'))
const Tokens = lazy(() => import('./pages/tokens'))
const Workers = lazy(() => import('./pages/workers'))
const BucketSettings = lazy(() => import('./pages/bucket-settings'))

interface Place {
  readonly path: string
  readonly text: TextName
  /** The endpoint of the admin API without which there is nothing to see. */
  readonly needs?: string
}

/** The pages of the menu; each user sees those that they may use. */
const PLACES: readonly Place[] = [
  { path: '/', text: 'menu.overview' },
  { path: '/cluster', text: 'menu.cluster', needs: 'GetClusterStatus' },
  { path: '/live', text: 'menu.live', needs: 'GetNodeFigures' },
  { path: '/buckets', text: 'menu.buckets' },
  { path: '/keys', text: 'menu.keys', needs: 'ListKeys' },
  { path: '/layout', text: 'menu.layout', needs: 'PlanClusterLayout' },
  { path: '/workers', text: 'menu.workers', needs: 'ListWorkers' },
  { path: '/tokens', text: 'menu.tokens', needs: 'ListAdminTokens' },
]

/** Why an attempt to sign in with an identity provider failed. */
const [problem, setProblem] = createSignal<string>()

/** Takes the answer of an identity provider, if that is what the page was opened for, and goes to where one was before. */
async function arrive(): Promise<void> {
  await loadSettings()
  if (location.pathname !== '/console/signed-in') return
  const answer = new URL(location.href)
  // The code in the address is good once; it does not belong into the history.
  history.replaceState(null, '', '/console/')
  try {
    const { finishSignIn } = await import('./net/oidc')
    const { returnTo, ...signedIn } = await finishSignIn(answer)
    history.replaceState(null, '', returnTo)
    signIn(signedIn)
  } catch (error) {
    setProblem(explain(error))
  }
}

export function App() {
  const [ready] = createResource(() => arrive().then(() => true))
  return (
    <Show when={ready()} fallback={<p role="status">{t('loading')}</p>}>
      <Router base="/console" root={Frame}>
        <Route path="/" component={Overview} />
        <Route path="/cluster" component={Cluster} />
        <Route path="/buckets" component={Buckets} />
        <Route path="/buckets/:bucket" component={Objects} />
        <Route path="/bucket-settings/:bucket" component={BucketSettings} />
        <Route path="/keys" component={Keys} />
        <Route path="/layout" component={Layout} />
        <Route path="/live" component={Live} />
        <Route path="/workers" component={Workers} />
        <Route path="/tokens" component={Tokens} />
        <Route path="*" component={Nowhere} />
      </Router>
    </Show>
  )
}

function Frame(props: RouteSectionProps) {
  return (
    <Show when={isSignedIn()} fallback={<SignIn problem={problem()} />}>
      <a class="skip" href="#content">
        {t('skip')}
      </a>
      <div class="frame">
        <Menu />
        <main id="content" tabindex="-1">
          <SessionNotice />
          {props.children}
        </main>
      </div>
      <SignInAgain />
    </Show>
  )
}

function Menu() {
  const location = useLocation()
  const [isMore, setMore] = createSignal(false)
  const isHere = (path: string) => {
    const here = location.pathname.replace(/^\/console/, '') || '/'
    // Settings of a bucket belong to the buckets.
    const place = here.replace(/^\/bucket-settings\b/, '/buckets')
    return path === '/' ? place === '/' : place.startsWith(path)
  }
  const places = () => PLACES.filter(({ needs }) => needs === undefined || may(needs))
  let list!: HTMLUListElement
  // On phones the menu is a line that one scrolls: it shows where one is.
  const showHere = () =>
    list.querySelector('[aria-current=page]')?.scrollIntoView({ inline: 'center', block: 'nearest' })
  createEffect(on(() => location.pathname, showHere))
  onMount(() => {
    addEventListener('resize', showHere)
    onCleanup(() => removeEventListener('resize', showHere))
  })
  return (
    <nav class="menu" aria-label={t('menu')}>
      <span class="brand">
        <img src="/console/icon.svg" alt="" width="24" height="24" /> Carport
      </span>
      <ul ref={list}>
        <For each={places()}>
          {({ path, text }) => (
            <li>
              <A href={path} aria-current={isHere(path) ? 'page' : undefined}>
                {t(text)}
              </A>
            </li>
          )}
        </For>
      </ul>
      <footer>
        <For each={uploadsUnderWay()}>
          {({ bucket, count }) => (
            <A href={folderPlace(bucket, '')}>{t('upload.under-way', { bucket, count })}</A>
          )}
        </For>
        <Show when={session().key}>{(key) => <small class="muted mono">{key().accessKeyId}</small>}</Show>
        <Show when={session().login}>
          {(login) => (
            <small class="muted">
              {login().role === ''
                ? t('oidc.signed-in', { name: login().provider })
                : t('oidc.signed-in-as', { name: login().provider, role: login().role })}
            </small>
          )}
        </Show>
        <Show when={session().key === undefined || session().adminToken === undefined}>
          <button type="button" class="button" onClick={() => setMore(true)}>
            {t('sign-in.more')}
          </button>
          <SignInMore open={isMore()} onClose={() => setMore(false)} />
        </Show>
        <button type="button" class="button" onClick={signOut}>
          {t('sign-out')}
        </button>
        <small class="muted">{settings().version}</small>
      </footer>
    </nav>
  )
}

function Nowhere() {
  return (
    <>
      <h1>{t('nowhere')}</h1>
      <A href="/">{t('menu.overview')}</A>
    </>
  )
}
