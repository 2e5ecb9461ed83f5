import { render } from 'solid-js/web'
import { App } from './app'
import './style/base.css'
import './style/parts.css'
import './style/cluster.css'
import './style/objects.css'

render(() => <App />, document.getElementById('root')!)
